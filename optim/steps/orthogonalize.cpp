// With A = X X^T and B = b A + c A^2:  X <- a X + B X.  As A has the size of the smaller side, a
// tall X uses A = X^T X and X <- a X + X B instead, which is the same polynomial: nothing is
// transposed. A and B are symmetric, so their products cost half.
#include "optim/steps/orthogonalize.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/linalg.h"
#include "core/math.h"
#include "optim/steps/rows.h"

namespace muonlab {
namespace {

using math::Op;

Tensor like(const Tensor& x, Shape shape) { return Tensor::empty(shape, x.dtype(), x.device()); }

/// n matrices of one shape; the smaller side is p.
struct Batch {
  Tensor x;  // (n, rows, cols)
  std::int64_t n, rows, cols, p;

  explicit Batch(Tensor all)
      : x(std::move(all)),
        n(x.shape()[0]),
        rows(x.shape()[1]),
        cols(x.shape()[2]),
        p(std::min(rows, cols)) {}

  // Square: the transposed left operand is the cheaper product.
  bool tall() const { return rows >= cols; }
  Tensor square() const { return like(x, {n, p, p}); }
  /// a = X X^T, or X^T X of a tall X
  void gram(Tensor& a) const {
    math::gemm(a, x, tall() ? Op::transposed : Op::plain, x, tall() ? Op::plain : Op::transposed, 1,
               0, true);
  }
  /// d = M X, or X M of a tall X, plus what beta leaves of d
  void product(Tensor& d, const Tensor& m, double beta = 0) const {
    math::gemm(d, tall() ? x : m, Op::plain, tall() ? m : x, Op::plain, 1, beta);
  }
};

void iterate(Batch& batch, std::span<const Quintic> steps) {
  Tensor a = batch.square(), b = batch.square(), next = like(batch.x, batch.x.shape());
  for (const Quintic& q : steps) {
    batch.gram(a);
    math::axpby(b, q.b, a, 0);
    if (q.c != 0) math::gemm(b, a, Op::plain, a, Op::plain, q.c, 1, true);
    math::axpby(next, q.a, batch.x, 0);
    batch.product(next, b, 1);
    std::swap(batch.x, next);
  }
}

// The same polynomial by p x p products alone: with R = X X^T and Q = I, each step is Z = b R + c
// R^2, Q <- Q Z + a Q, Y = R Z + a R, R <- Z Y + a Y, and X <- Q X at the end. Rounding grows in R,
// so X is formed and R renewed after two steps. All of them are polynomials of one symmetric
// matrix, so every product is symmetric. Dao-AILab 2026, "gram-newton-schulz".
void iterate_gram(Batch& batch, std::span<const Quintic> steps) {
  constexpr std::size_t kRestart = 2;
  Tensor r = batch.square(), z = batch.square(), y = batch.square(), q = batch.square(),
         next_q = batch.square(), x = like(batch.x, batch.x.shape());
  const Tensor one = identities(batch.n, batch.p, r.dtype(), r.device());
  const auto step = [&](Tensor& d, const Tensor& right, double a) {  // d = Z right + a right
    math::axpby(d, a, right, 0);
    math::gemm(d, z, Op::plain, right, Op::plain, 1, 1, true);
  };
  for (std::size_t k = 0; k < steps.size(); ++k) {
    const auto& [a, b, c] = steps[k];
    const bool fresh = k == 0 || k == kRestart;
    if (fresh) batch.gram(r);
    math::axpby(z, b, r, 0);
    if (c != 0) math::gemm(z, r, Op::plain, r, Op::plain, c, 1, true);
    if (fresh)
      math::add(q, 1, z, a, one);
    else
      step(next_q, q, a), std::swap(q, next_q);
    if (k + 1 == kRestart || k + 1 == steps.size()) {
      batch.product(x, q);
      std::swap(batch.x, x);
    } else {
      step(y, r, a);
      step(r, y, a);
    }
  }
}

/// The matrices of a batch, as handles that share its storage.
std::vector<Tensor> members(const Tensor& batch) {
  const Shape& shape = batch.shape();
  std::vector<Tensor> list;
  for (std::int64_t i = 0; i < shape[0]; ++i)
    list.push_back(batch.slice(i, i + 1).reshape({shape[1], shape[2]}));
  return list;
}

std::vector<double> norms_of(std::span<const Tensor> matrices) {
  std::vector<double> norms = math::sum_squares(matrices);
  for (double& n : norms) n = std::sqrt(n);
  return norms;
}

void rescale(std::span<const Tensor> matrices, std::span<const double> factors) {
  for (std::size_t i = 0; i < matrices.size(); ++i) {
    Tensor x = matrices[i];
    math::axpby(x, factors[i], x, 0);
  }
}

/// Of matrices of Frobenius norm 1, or zero: what is left of their norm. Rows may be rescaled
/// first.
std::vector<double> relative_norms(const Batch& batch, PreNorm norm) {
  const std::vector<Tensor> matrices = members(batch.x);
  std::vector<double> norms(matrices.size(), 1);
  if (norm == PreNorm::spectral) return linalg::spectral_norms(matrices);
  if (norm == PreNorm::schatten4) {
    Tensor a = batch.square();
    batch.gram(a);
    norms = norms_of(members(a));
    for (double& n : norms) n = std::sqrt(n);
  }
  if (norm == PreNorm::aol) {
    Tensor a = batch.square();
    batch.gram(a);
    const std::vector<Tensor> grams = members(a);
    for (std::size_t i = 0; i < matrices.size(); ++i) {
      Tensor s = row_sums(grams[i], [](const Lane& x) { return abs(x); });
      on_elements({s}, [](std::span<Lane> l) { l[0] = 1 / sqrt(max(l[0], kSmallest)); });
      batch.tall() ? scale_columns(matrices[i], s) : scale_rows(matrices[i], s);
    }
  }
  if (norm == PreNorm::rows) {
    const double length = 1 / std::sqrt(static_cast<double>(batch.rows));
    for (const Tensor& x : matrices) {
      Tensor s = row_sums(x, [](const Lane& l) { return l * l; });
      on_elements({s}, [&](std::span<Lane> l) { l[0] = length / sqrt(max(l[0], kSmallest)); });
      scale_rows(x, s);
    }
  }
  return norms;
}

void orthogonalize_batch(std::span<const Tensor> given, std::span<const double> norms,
                         const Orthogonalization& how, std::span<const Quintic> steps,
                         std::span<const double> factors) {
  const auto divisor = [&](double norm) {
    norm *= how.safety;
    return how.eps_form == EpsForm::add ? norm + how.eps : std::max(norm, how.eps);
  };
  const Tensor& first = given[0];
  const auto n = static_cast<std::int64_t>(given.size());
  Batch batch(like(first, {n, first.shape()[0], first.shape()[1]}));
  std::vector<double> scales;
  for (const double norm : norms)
    scales.push_back(1 /
                     (how.norm == PreNorm::frobenius ? divisor(norm) : std::max(norm, kSmallest)));
  math::scale(members(batch.x), given, scales);
  if (how.norm != PreNorm::frobenius) {
    scales = relative_norms(batch, how.norm);
    for (std::size_t i = 0; i < scales.size(); ++i)
      scales[i] = norms[i] / divisor(norms[i] * scales[i]);
    rescale(members(batch.x), scales);
  }
  if (how.gram && batch.rows != batch.cols)
    iterate_gram(batch, steps);
  else
    iterate(batch, steps);
  scales.assign(factors.begin(), factors.end());
  if (how.norm == PreNorm::rows) {
    const std::vector<double> reached = norms_of(members(batch.x));
    for (std::size_t i = 0; i < scales.size(); ++i)
      scales[i] *= std::sqrt(static_cast<double>(batch.p)) / std::max(reached[i], kSmallest);
  }
  math::scale(given, members(batch.x), scales);
}

}  // namespace

void orthogonalize(std::span<const Tensor> matrices, const Orthogonalization& how,
                   std::span<const double> factors) {
  if (how.coefficients == "svd") {
    linalg::polar(matrices, matrices);
    rescale(matrices, factors);
    return;
  }
  const std::vector<Quintic> steps = coefficients(how.coefficients, how.steps);
  const std::vector<double> norms = norms_of(matrices);
  struct Group {
    std::vector<Tensor> matrices;
    std::vector<double> norms, factors;
  };
  std::map<std::pair<std::int64_t, std::int64_t>, Group> by_shape;
  for (std::size_t i = 0; i < matrices.size(); ++i) {
    Group& group = by_shape[{matrices[i].shape()[0], matrices[i].shape()[1]}];
    group.matrices.push_back(matrices[i]);
    group.norms.push_back(norms[i]);
    group.factors.push_back(factors[i]);
  }
  for (const auto& [shape, group] : by_shape)
    orthogonalize_batch(group.matrices, group.norms, how, steps, group.factors);
}

std::string unused(const Orthogonalization& how, const std::string& option) {
  const std::string name = option.substr(option.find('.') + 1);
  for (const char* of_steps : {"ns_steps", "norm", "safety", "gram", "eps", "eps_form"})
    if (name == of_steps && how.coefficients == "svd") return "singular values take no steps";
  return "";
}

OptionTable options(Orthogonalization& how, const std::string& rule, bool faint) {
  const std::string name = rule + ".coefficients";
  OptionTable table{
      {name, "steps of the orthogonalisation; svd: exact, on the host", how.coefficients,
       fmt::format("{} | svd | a list: 'a b c; a b c'", fmt::join(coefficient_names(), " | ")),
       false, [&how] { return how.coefficients; },
       [&how, name](const std::string& text) {
         try {
           if (text != "svd") coefficients(text);
         } catch (const ConfigError& error) {
           throw ConfigError(fmt::format("--{}: {}", name, error.what()));
         }
         how.coefficients = text;
       }}};
  OptionBuilder more;
  more.integer(rule + ".ns_steps", how.steps, {.min = 0, .max = 100},
               "how many of its steps, the last one repeated; 0: as many as the set has")
      .enumeration(rule + ".norm", how.norm, {"frobenius", "spectral", "schatten4", "aol", "rows"},
                   "what a matrix is divided by before the first step")
      .number(rule + ".safety", how.safety, {.min = 1, .max = 2}, "factor of that norm")
      .boolean(rule + ".gram", how.gram,
               "iterate on the small Gram matrix of a matrix that is not square");
  if (faint)
    more.number(rule + ".eps", how.eps, {.min = 0, .max = 1, .open_min = true},
                "smallest norm that a matrix is divided by")
        .enumeration(rule + ".eps_form", how.eps_form, {"clamp", "add"},
                     "whether eps bounds the norm from below, or is added to it");
  for (Option& option : more.table()) table.push_back(std::move(option));
  return table;
}

}  // namespace muonlab

// With A = X X^T and B = b A + c A^2:  X <- a X + B X.  As A has the size of the smaller side, a
// tall X uses A = X^T X and X <- a X + X B instead, which is the same polynomial: nothing is
// transposed. A and B are symmetric, so their products cost half.
#include "optim/steps/newton_schulz.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>
#include <vector>

#include "core/math.h"

namespace muonlab {
namespace {

using math::Op;

// x: (n, rows, cols), each matrix with singular values of at most 1.
void iterate(Tensor& x, std::span<const Quintic> steps) {
  const std::int64_t n = x.shape()[0], rows = x.shape()[1], cols = x.shape()[2];
  const bool tall = rows >= cols;  // square: the transposed left operand is the cheaper product
  const Shape square{n, std::min(rows, cols), std::min(rows, cols)};
  Tensor a = Tensor::empty(square, x.dtype(), x.device());
  Tensor b = Tensor::empty(square, x.dtype(), x.device());
  Tensor next = Tensor::empty(x.shape(), x.dtype(), x.device());
  for (const Quintic& q : steps) {
    math::gemm(a, x, tall ? Op::transposed : Op::plain, x, tall ? Op::plain : Op::transposed, 1, 0,
               true);
    math::axpby(b, q.b, a, 0);
    math::gemm(b, a, Op::plain, a, Op::plain, q.c, 1, true);
    math::axpby(next, q.a, x, 0);
    math::gemm(next, tall ? x : b, Op::plain, tall ? b : x, Op::plain, 1, 1);
    std::swap(x, next);
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

}  // namespace

void newton_schulz(std::span<const Tensor> matrices, std::span<const Quintic> steps, double eps,
                   std::span<const double> factors) {
  const std::vector<double> squares = math::sum_squares(matrices);
  struct Batch {
    std::vector<Tensor> given;
    std::vector<double> inverse_norms, factors;
  };
  std::map<std::pair<std::int64_t, std::int64_t>, Batch> by_shape;
  for (std::size_t i = 0; i < matrices.size(); ++i) {
    Batch& batch = by_shape[{matrices[i].shape()[0], matrices[i].shape()[1]}];
    batch.given.push_back(matrices[i]);
    batch.inverse_norms.push_back(1 / std::max(std::sqrt(squares[i]), eps));
    batch.factors.push_back(factors[i]);
  }
  for (const auto& [shape, batch] : by_shape) {
    const auto& [rows, cols] = shape;
    const auto n = static_cast<std::int64_t>(batch.given.size());
    Tensor x = Tensor::empty({n, rows, cols}, batch.given[0].dtype(), batch.given[0].device());
    math::scale(members(x), batch.given, batch.inverse_norms);
    iterate(x, steps);
    math::scale(batch.given, members(x), batch.factors);
  }
}

}  // namespace muonlab

#include "core/math.h"

#include <fmt/format.h>

#include <cmath>
#include <functional>

#include "core/backend.h"
#include "core/error.h"

namespace muonlab::math {
namespace {

struct Operand {
  const char* name;
  const Tensor& tensor;
};

void check_floating(const char* function, const Operand& o) {
  if (!o.tensor.defined())
    throw ShapeError(
        fmt::format("[{}] {} must be a tensor; got an empty handle", function, o.name));
  if (o.tensor.dtype() == DType::i32)
    throw DtypeError(fmt::format("[{}] {} must be f32 or f64; got i32", function, o.name));
}

void check_same_kind(const char* function, const Operand& o, const Operand& like) {
  check_floating(function, o);
  if (o.tensor.dtype() != like.tensor.dtype())
    throw DtypeError(fmt::format("[{}] {} must be {}, as {} is; got {}", function, o.name,
                                 name_of(like.tensor.dtype()), like.name,
                                 name_of(o.tensor.dtype())));
  if (o.tensor.device() != like.tensor.device())
    throw DeviceError(fmt::format("[{}] {} must be on {}, where {} is; got {}", function, o.name,
                                  like.tensor.device().str(), like.name, o.tensor.device().str()));
}

void check_alike(const char* function, const Operand& o, const Operand& like) {
  check_same_kind(function, o, like);
  if (o.tensor.shape() != like.tensor.shape())
    throw ShapeError(fmt::format("[{}] {} must be {}, the shape of {}; got {}", function, o.name,
                                 like.tensor.shape().str(), like.name, o.tensor.shape().str()));
}

bool overlap(const Tensor& x, const Tensor& y) {
  const auto* x0 = static_cast<const char*>(x.raw());
  const auto* y0 = static_cast<const char*>(y.raw());
  const std::less<const char*> before;
  return before(x0, y0 + y.bytes()) && before(y0, x0 + x.bytes());
}

}  // namespace

void axpby(Tensor& d, double a, const Tensor& x, double b) {
  check_floating("axpby", {"d", d});
  check_alike("axpby", {"x", x}, {"d", d});
  backend_of(d.device()).map({.map = Map::axpby, .d = d, .a = x, .b = {}, .s0 = a, .s1 = b});
}

void add(Tensor& d, double a, const Tensor& x, double b, const Tensor& y) {
  check_floating("add", {"d", d});
  check_alike("add", {"x", x}, {"d", d});
  check_alike("add", {"y", y}, {"d", d});
  backend_of(d.device()).map({.map = Map::add, .d = d, .a = x, .b = y, .s0 = a, .s1 = b});
}

void mul(Tensor& d, const Tensor& x, const Tensor& y, double s) {
  check_floating("mul", {"d", d});
  check_alike("mul", {"x", x}, {"d", d});
  check_alike("mul", {"y", y}, {"d", d});
  backend_of(d.device()).map({.map = Map::mul, .d = d, .a = x, .b = y, .s0 = s});
}

void lerp(Tensor& d, const Tensor& x, double w) {
  check_floating("lerp", {"d", d});
  check_alike("lerp", {"x", x}, {"d", d});
  backend_of(d.device()).map({.map = Map::lerp, .d = d, .a = x, .b = {}, .s0 = w});
}

void lerp_square(Tensor& d, const Tensor& x, double w) {
  check_floating("lerp_square", {"d", d});
  check_alike("lerp_square", {"x", x}, {"d", d});
  backend_of(d.device()).map({.map = Map::lerp_square, .d = d, .a = x, .b = {}, .s0 = w});
}

void adam_ratio(Tensor& d, double a, const Tensor& m, double b, const Tensor& v, double eps) {
  check_floating("adam_ratio", {"d", d});
  check_alike("adam_ratio", {"m", m}, {"d", d});
  check_alike("adam_ratio", {"v", v}, {"d", d});
  backend_of(d.device())
      .map({.map = Map::adam, .d = d, .a = m, .b = v, .s0 = a, .s1 = b, .s2 = eps});
}

void apply_update(Tensor& w, const Tensor& u, double lr, double decay) {
  check_floating("apply_update", {"w", w});
  check_alike("apply_update", {"u", u}, {"w", w});
  backend_of(w.device()).map({.map = Map::apply, .d = w, .a = u, .b = {}, .s0 = lr, .s1 = decay});
}

void gemm(Tensor& c, const Tensor& a, Op op_a, const Tensor& b, Op op_b, double alpha, double beta,
          bool symmetric) {
  check_floating("gemm", {"c", c});
  check_same_kind("gemm", {"a", a}, {"c", c});
  check_same_kind("gemm", {"b", b}, {"c", c});

  const Shape &sa = a.shape(), &sb = b.shape(), &sc = c.shape();
  const int rank = sc.rank();
  if (rank < 2 || rank > 3 || sa.rank() != rank || sb.rank() != rank ||
      (rank == 3 && (sa[0] != sc[0] || sb[0] != sc[0])))
    throw ShapeError(
        fmt::format("[gemm] a, b, c must all be matrices, or all be equally many matrices with the "
                    "batch first; got {}, {}, {}",
                    sa.str(), sb.str(), sc.str()));
  const bool trans_a = op_a == Op::transposed, trans_b = op_b == Op::transposed;
  const std::int64_t m = sa[trans_a ? -1 : -2], ka = sa[trans_a ? -2 : -1];
  const std::int64_t n = sb[trans_b ? -2 : -1], kb = sb[trans_b ? -1 : -2];
  if (ka != kb || m != sc[-2] || n != sc[-1])
    throw ShapeError(
        fmt::format("[gemm] c = op(a) op(b) must be {} x {} from {} x {} and {} x {}; "
                    "got {} for c",
                    m, n, m, ka, kb, n, sc.str()));
  if (symmetric && m != n)
    throw ShapeError(fmt::format("[gemm] a symmetric c must be square; got {}", sc.str()));
  if (overlap(c, a) || overlap(c, b))
    throw ShapeError("[gemm] c must not overlap a or b; give it storage of its own");

  backend_of(c.device())
      .gemm({.a = a,
             .b = b,
             .c = c,
             .trans_a = trans_a,
             .trans_b = trans_b,
             .alpha = alpha,
             .beta = beta,
             .symmetric = symmetric});
}

double sum(const Tensor& x) {
  check_floating("sum", {"x", x});
  return backend_of(x.device()).sum(x);
}

double sum_squares(const Tensor& x) {
  check_floating("sum_squares", {"x", x});
  return backend_of(x.device()).sum_squares(x);
}

double norm(const Tensor& x) {
  check_floating("norm", {"x", x});
  return std::sqrt(backend_of(x.device()).sum_squares(x));
}

double rms(const Tensor& x) {
  check_floating("rms", {"x", x});
  if (x.numel() == 0)
    throw ShapeError(fmt::format("[rms] x must have an element; got {}", x.shape().str()));
  return std::sqrt(backend_of(x.device()).sum_squares(x) / static_cast<double>(x.numel()));
}

}  // namespace muonlab::math

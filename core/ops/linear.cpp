// y = act(z), z = x wT + b        dz = dy act'(z)    dx = dz w    dw = dzT x    db = sum of rows of dz
#include "core/ops/linear.h"

#include "core/ops/check.h"
#include "core/profile.h"

namespace muonlab {
namespace {

Tensor as_matrix(const Tensor& t) { return t.reshape({t.shape().rows(), t.shape()[-1]}); }

struct LinearOp {
  Activation activation;
  Tensor x{}, w{}, pre{};

  Tensor forward(const Tensor& x_in, const Tensor& w_in, const Tensor& b) {
    const ProfileScope profile("linear");
    x = x_in;
    w = w_in;
    const std::int64_t m = w.shape()[0];
    Tensor y = Tensor::empty(x.shape().with_last(m), x.dtype(), x.device());
    if (activation != Activation::none) pre = Tensor::empty({x.shape().rows(), m}, x.dtype(), x.device());
    backend_of(x.device()).linear({.x = as_matrix(x), .w = w, .bias = b, .pre = pre, .y = as_matrix(y), .activation = activation});
    return y;
  }

  void backward(Tensor dy, std::span<GradSink, 3> in) {
    const ProfileScope profile("linear backward");
    Backend& backend = backend_of(x.device());
    Tensor dz = as_matrix(dy);
    if (activation != Activation::none) {
      // dy is overwritten if nobody else reads it; `dy` and `dz` are two handles on it.
      dy = Tensor();
      const Tensor dx = dz.unique() ? dz : Tensor::empty(pre.shape(), pre.dtype(), pre.device());
      backend.activation_backward({.kind = activation, .x = pre, .dy = dz, .dx = dx});
      dz = dx;
      pre = Tensor();
    }
    if (in[0].wanted()) {
      auto [dx, beta] = in[0].open(x);
      backend.gemm({.a = dz, .b = w, .c = as_matrix(dx), .beta = beta});
    }
    if (in[1].wanted()) {
      auto [dw, beta] = in[1].open(w);
      backend.gemm({.a = dz, .b = as_matrix(x), .c = dw, .trans_a = true, .beta = beta});
    }
    if (in[2].wanted()) {
      auto [db, beta] = in[2].open(Tensor::empty({dz.shape()[1]}, dz.dtype(), dz.device()));
      backend.column_sum({.src = dz, .dst = db, .beta = beta});
    }
  }
};

}  // namespace

Var linear(const Var& x, const Var& w, const Var& b, Activation activation) {
  check_rank("linear", "weight", w.value(), 2);
  const Shape& ws = w.shape();
  if (x.shape().rank() == 0 || x.shape()[-1] != ws[1])
    check_shape("linear", "x", x.value(), x.shape().rank() == 0 ? Shape{1, ws[1]} : x.shape().with_last(ws[1]),
                "whose last dim is that of weight " + ws.str());
  if (b.value().defined()) check_shape("linear", "bias", b.value(), {ws[0]}, "the first dim of weight " + ws.str());
  check_alike("linear", "weight", w.value(), x.value());
  check_alike("linear", "bias", b.value(), x.value());
  return record(LinearOp{activation}, x, w, b);
}

}  // namespace muonlab

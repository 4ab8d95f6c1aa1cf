// y = h wT + b, h = act(x)        dh = dy w    dx = dh act'(x)    dw = dyT h    db = sum of the
// rows of dy
#include "core/ops/linear.h"

#include "core/ops/check.h"
#include "core/profile.h"

namespace muonlab {
namespace {

Tensor as_matrix(const Tensor& t) { return t.reshape({t.shape().rows(), t.shape()[-1]}); }

struct LinearOp {
  Activation activation;
  Tensor x{}, w{};

  bool activated() const { return activation != Activation::none; }
  Tensor scratch() const {
    return Tensor::empty({x.shape().rows(), x.shape()[-1]}, x.dtype(), x.device());
  }

  Tensor forward(const Tensor& x_in, const Tensor& w_in, const Tensor& b) {
    const ProfileScope profile("linear");
    x = x_in;
    w = w_in;
    Tensor y = Tensor::empty(x.shape().with_last(w.shape()[0]), x.dtype(), x.device());
    backend_of(x.device())
        .linear({.x = as_matrix(x),
                 .w = w,
                 .bias = b,
                 .hidden = activated() ? scratch() : Tensor(),
                 .y = as_matrix(y),
                 .activation = activation});
    return y;
  }

  void backward(Tensor dy_in, std::span<GradSink, 3> in) {
    const ProfileScope profile("linear backward");
    Backend& backend = backend_of(x.device());
    const Tensor dy = as_matrix(dy_in);
    const bool last_owner = x.unique();
    Tensor h = as_matrix(x);
    if (in[0].wanted() || (activated() && in[1].wanted())) {
      auto [dx, beta] = in[0].wanted() ? in[0].open(x) : GradSink::Target{scratch(), 0};
      dx = as_matrix(dx);
      if (activated()) {
        // act(x) replaces x where nobody else reads x, and dh lies where dx goes unless dx holds a
        // gradient to add to.
        if (!last_owner) h = scratch();
        const Tensor dh = beta == 0 ? dx : scratch();
        backend.gemm({.a = dy, .b = w, .c = dh});
        backend.activation_backward(
            {.kind = activation, .x = as_matrix(x), .dy = dh, .dx = dx, .y = h, .beta = beta});
      } else {
        backend.gemm({.a = dy, .b = w, .c = dx, .beta = beta});
      }
    }
    if (in[1].wanted()) {
      auto [dw, beta] = in[1].open(w);
      backend.gemm({.a = dy, .b = h, .c = dw, .trans_a = true, .beta = beta});
    }
    if (in[2].wanted()) {
      auto [db, beta] =
          in[2].open(Tensor::empty({dy.shape()[1]}, wide_type(dy.dtype()), dy.device()));
      backend.column_sum({.src = dy, .dst = db, .beta = beta});
    }
  }
};

}  // namespace

Var linear(const Var& x, const Var& w, const Var& b, Activation input_activation) {
  check_rank("linear", "weight", w.value(), 2);
  const Shape& ws = w.shape();
  if (x.shape().rank() == 0 || x.shape()[-1] != ws[1])
    check_shape("linear", "x", x.value(),
                x.shape().rank() == 0 ? Shape{1, ws[1]} : x.shape().with_last(ws[1]),
                "whose last dim is that of weight " + ws.str());
  if (b.value().defined())
    check_shape("linear", "bias", b.value(), {ws[0]}, "the first dim of weight " + ws.str());
  check_wide("linear", "weight", w.value(), x.value());
  check_wide("linear", "bias", b.value(), x.value());
  return record(LinearOp{input_activation}, x, w, b);
}

}  // namespace muonlab

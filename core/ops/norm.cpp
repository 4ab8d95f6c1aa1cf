// Formulas of both passes: core/cpu/norm.cpp.
#include "core/ops/norm.h"

#include "core/backend.h"
#include "core/ops/check.h"
#include "core/profile.h"

namespace muonlab {
namespace {

struct NormOp {
  const char* name;
  bool centered;  // LayerNorm; otherwise RMSNorm
  double eps;
  Tensor x{}, w{}, mean{}, rstd{};

  Tensor forward(const Tensor& x_in, const Tensor& w_in, const Tensor& b) {
    const ProfileScope profile(name);
    x = x_in;
    w = w_in;
    const Shape rows{x.shape().rows()};
    rstd = Tensor::empty(rows, wide_type(x.dtype()), x.device());
    if (centered) mean = Tensor::empty(rows, wide_type(x.dtype()), x.device());
    Tensor y = Tensor::empty(x.shape(), x.dtype(), x.device());
    backend_of(x.device())
        .norm({.x = x, .w = w, .b = b, .y = y, .mean = mean, .rstd = rstd, .eps = eps});
    return y;
  }

  void backward(Tensor dy, std::span<GradSink, 3> in) {
    const ProfileScope profile(name);
    NormBackwardArgs a{.x = x, .w = w, .mean = mean, .rstd = rstd, .dy = dy};
    const auto open = [](GradSink& sink, const Tensor& like, Tensor& dst, double& beta) {
      if (!sink.wanted()) return;
      GradSink::Target t = sink.open(like);
      dst = t.dst;
      beta = t.beta;
    };
    open(in[0], x, a.dx, a.beta_dx);
    open(in[1], w, a.dw, a.beta_dw);
    open(in[2], w, a.db, a.beta_db);
    backend_of(x.device()).norm_backward(a);
  }
};

Var norm(const char* name, bool centered, const Var& x, const Var& w, const Var& b, double eps) {
  if (x.shape().rank() == 0) check_rank(name, "x", x.value(), 1);
  const Shape channels{x.shape()[-1]};
  const std::string why = "the last dim of x " + x.shape().str();
  check_shape(name, "weight", w.value(), channels, why);
  if (b.value().defined()) check_shape(name, "bias", b.value(), channels, why);
  check_wide(name, "weight", w.value(), x.value());
  check_wide(name, "bias", b.value(), x.value());
  return record(NormOp{name, centered, eps}, x, w, b);
}

}  // namespace

Var layer_norm(const Var& x, const Var& w, const Var& b, double eps) {
  return norm("layer_norm", true, x, w, b, eps);
}

Var rms_norm(const Var& x, const Var& w, double eps) {
  return norm("rms_norm", false, x, w, {}, eps);
}

}  // namespace muonlab

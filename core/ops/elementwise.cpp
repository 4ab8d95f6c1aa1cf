#include "core/ops/elementwise.h"

#include <fmt/format.h>

#include "core/error.h"
#include "core/math.h"
#include "core/ops/check.h"
#include "core/profile.h"

namespace muonlab {
namespace {

Tensor empty_like(const Tensor& t) { return Tensor::empty(t.shape(), t.dtype(), t.device()); }

struct AddOp {
  Tensor forward(const Tensor& a, const Tensor& b) {
    const ProfileScope profile("add");
    Tensor y = empty_like(a);
    math::add(y, 1, a, 1, b);
    return y;
  }
  void backward(Tensor dy, std::span<GradSink, 2> in) {
    const ProfileScope profile("add");
    for (GradSink& sink : in)
      if (sink.wanted()) sink.give(dy);
  }
};

struct MulOp {
  Tensor a{}, b{};
  Tensor forward(const Tensor& a_in, const Tensor& b_in) {
    const ProfileScope profile("mul");
    a = a_in;
    b = b_in;
    Tensor y = empty_like(a);
    math::mul(y, a, b);
    return y;
  }
  void backward(Tensor dy, std::span<GradSink, 2> in) {
    const ProfileScope profile("mul");
    const auto write = [&](GradSink& sink, const Tensor& other) {
      if (!sink.wanted()) return;
      auto [dst, beta] = sink.open(other);
      math::mul(dst, dy, other, beta);
    };
    write(in[0], b);
    write(in[1], a);
  }
};

struct ScaleOp {
  double factor;
  Tensor forward(const Tensor& x) {
    const ProfileScope profile("scale");
    Tensor y = empty_like(x);
    math::axpby(y, factor, x, 0);
    return y;
  }
  void backward(Tensor dy, std::span<GradSink, 1> in) {
    const ProfileScope profile("scale");
    auto [dst, beta] = in[0].open(dy);
    math::axpby(dst, factor, dy, beta);
  }
};

struct ActivationOp {
  Activation kind;
  Tensor x{};
  Tensor forward(const Tensor& x_in) {
    const ProfileScope profile("activation");
    x = x_in;
    Tensor y = empty_like(x);
    backend_of(x.device()).activation({.kind = kind, .x = x, .y = y});
    return y;
  }
  void backward(Tensor dy, std::span<GradSink, 1> in) {
    const ProfileScope profile("activation");
    auto [dst, beta] = in[0].open(x);
    backend_of(x.device())
        .activation_backward({.kind = kind, .x = x, .dy = dy, .dx = dst, .beta = beta});
  }
};

struct DropoutOp {
  double p;
  std::uint64_t seed, stream;
  Tensor forward(const Tensor& x) {
    const ProfileScope profile("dropout");
    Tensor y = empty_like(x);
    backend_of(x.device()).dropout({.x = x, .y = y, .p = p, .seed = seed, .stream = stream});
    return y;
  }
  void backward(Tensor dy, std::span<GradSink, 1> in) {
    const ProfileScope profile("dropout");
    auto [dst, beta] = in[0].open(dy);
    backend_of(dy.device())
        .dropout({.x = dy, .y = dst, .p = p, .beta = beta, .seed = seed, .stream = stream});
  }
};

void check_same(const char* op, const Var& a, const Var& b) {
  check_defined(op, "a", a.value());
  check_defined(op, "b", b.value());
  check_shape(op, "b", b.value(), a.shape(), "the shape of a");
  check_alike(op, "b", b.value(), a.value());
}

}  // namespace

Var add(const Var& a, const Var& b) {
  check_same("add", a, b);
  return record(AddOp{}, a, b);
}

Var mul(const Var& a, const Var& b) {
  check_same("mul", a, b);
  return record(MulOp{}, a, b);
}

Var scale(const Var& x, double factor) {
  check_defined("scale", "x", x.value());
  return record(ScaleOp{factor}, x);
}

Var activate(const Var& x, Activation activation) {
  check_defined("activate", "x", x.value());
  return record(ActivationOp{activation}, x);
}

Var dropout(const Var& x, double p, std::uint64_t seed, std::uint64_t stream) {
  if (!(p >= 0 && p < 1))
    throw ConfigError(fmt::format("[dropout] p must be in [0, 1); got {}", p));
  check_defined("dropout", "x", x.value());
  return record(DropoutOp{p, seed, stream}, x);
}

}  // namespace muonlab

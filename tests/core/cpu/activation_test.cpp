#include <cmath>
#include <limits>
#include <utility>

#include "core/backend.h"
#include "tests/support/array.h"
#include "tests/support/catch.h"
#include "tests/support/close.h"

using namespace muonlab;
using namespace muonlab::test;

namespace {

// One element; less than a vector; not a multiple of one; several chunks and a rest.
const std::int64_t kSizes[] = {1, 3, 17, 1000, 100003};

const Activation kActivations[] = {Activation::none,         Activation::gelu,
                                   Activation::gelu_tanh,    Activation::relu,
                                   Activation::relu_squared, Activation::silu};

}  // namespace

TEST_CASE("backward of an activation assigns, adds, and works in place", "[activation]") {
  Backend& cpu = backend_of(Device{});
  for (Activation kind : kActivations) {
    for (std::int64_t n : kSizes) {
      const Tensor x = normal_array(Shape{n}, "x").tensor(DType::f32);
      const Tensor dy = normal_array(Shape{n}, "dy").tensor(DType::f32);
      Tensor assigned = Tensor::empty({n});
      assigned.fill(std::nan(""));
      cpu.activation_backward({.kind = kind, .x = x, .dy = dy, .dx = assigned, .beta = 0});
      Tensor in_place = dy.clone();
      cpu.activation_backward({.kind = kind, .x = x, .dy = in_place, .dx = in_place, .beta = 0});
      CHECK(same_bits(in_place, assigned));
      Tensor added = normal_array(Shape{n}, "before").tensor(DType::f32);
      Array want(added);
      const Array term(assigned);
      for (std::int64_t i = 0; i < n; ++i) want[i] += term[i];
      cpu.activation_backward({.kind = kind, .x = x, .dy = dy, .dx = added, .beta = 1});
      INFO("activation " << static_cast<int>(kind) << " n " << n);
      CHECK(relative_error(Array(added), want) <= tolerance(DType::f32, 2));
    }
  }
}

TEST_CASE("activations reach their limits without overflow, and pass on what is not a number",
          "[activation]") {
  const auto apply = [](Activation kind, DType dtype, double x) {
    Array a(Shape{1});
    a[0] = x;
    const Tensor in = a.tensor(dtype);
    Tensor y = Tensor::empty({1}, dtype), dx = Tensor::empty({1}, dtype);
    Tensor one = Tensor::empty({1}, dtype);
    one.fill(1);
    backend_of(Device{}).activation({.kind = kind, .x = in, .y = y});
    backend_of(Device{}).activation_backward(
        {.kind = kind, .x = in, .dy = one, .dx = dx, .beta = 0});
    return std::pair{y.item(), dx.item()};
  };
  for (DType dtype : {DType::f32, DType::f64}) {
    for (Activation kind : kActivations) {
      INFO(name_of(dtype) << " activation " << static_cast<int>(kind));
      if (kind == Activation::none) continue;
      for (double x : {20.0, 100.0, 1000.0, 1e6}) {
        const auto [up, up_slope] = apply(kind, dtype, x);
        const auto [down, down_slope] = apply(kind, dtype, -x);
        const bool square = kind == Activation::relu_squared;
        INFO("at " << x);
        CHECK(up == Approx(square ? x * x : x).epsilon(1e-6));
        CHECK(up_slope == Approx(square ? 2 * x : 1).epsilon(1e-6));
        // silu(-20) = -20 e^-20 = -4e-8 is the largest of the tails.
        CHECK(std::abs(down) < 1e-7);
        CHECK(std::abs(down_slope) < 1e-7);
      }
      const double nan = std::nan("");
      CHECK(std::isnan(apply(kind, dtype, nan).first));
      CHECK(apply(kind, dtype, std::numeric_limits<double>::infinity()).first ==
            std::numeric_limits<double>::infinity());
      CHECK(apply(kind, dtype, 0).first == 0);
      // Near zero the slope is that of the origin, also for denormals.
      const double tiny = dtype == DType::f32 ? 1e-40 : 1e-310;
      const bool half =
          kind == Activation::gelu || kind == Activation::gelu_tanh || kind == Activation::silu;
      if (half) CHECK(apply(kind, dtype, tiny).first == Approx(tiny / 2).epsilon(1e-4));
    }
  }
}

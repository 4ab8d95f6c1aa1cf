#include <cmath>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "core/backend.h"
#include "core/cpu/parallel.h"
#include "core/rng.h"
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

TEST_CASE("maps compute what their comments say", "[map]") {
  struct Case {
    Map map;
    const char* name;
    double s0, s1, s2;
    double (*f)(double d, double a, double b, const MapArgs& m);
    bool reads_d;
  };
  const Case cases[] = {
      {Map::axpby, "axpby", 0.5, -0.25, 0,
       [](double d, double a, double, const MapArgs& m) { return m.s0 * a + m.s1 * d; }, true},
      {Map::axpby, "axpby assigning", 0.5, 0, 0,
       [](double, double a, double, const MapArgs& m) { return m.s0 * a; }, false},
      {Map::add, "add", 0.5, -2, 0,
       [](double, double a, double b, const MapArgs& m) { return m.s0 * a + m.s1 * b; }, false},
      {Map::mul, "mul", 0.5, 0, 0,
       [](double d, double a, double b, const MapArgs& m) { return a * b + m.s0 * d; }, true},
      {Map::mul, "mul assigning", 0, 0, 0,
       [](double, double a, double b, const MapArgs&) { return a * b; }, false},
      {Map::lerp, "lerp", 0.125, 0, 0,
       [](double d, double a, double, const MapArgs& m) { return d + m.s0 * (a - d); }, true},
      {Map::lerp_square, "lerp_square", 0.125, 0, 0,
       [](double d, double a, double, const MapArgs& m) { return d + m.s0 * (a * a - d); }, true},
      {Map::adam, "adam", 1.5, 2, 0.5,
       [](double, double a, double b, const MapArgs& m) {
         return m.s0 * a / (m.s1 * std::sqrt(b) + m.s2);
       },
       false},
      {Map::apply, "apply", 0.125, 0.5, 0,
       [](double d, double a, double, const MapArgs& m) { return d - m.s0 * (a + m.s1 * d); },
       true},
  };
  for (DType dtype : {DType::f32, DType::f64}) {
    for (const Case& c : cases) {
      for (std::int64_t n : kSizes) {
        const Array a = normal_array(Shape{n}, "a");
        Array b = normal_array(Shape{n}, "b"), d = normal_array(Shape{n}, "d");
        if (c.map == Map::adam)
          for (double& v : b.values) v *= v;
        b = Array(b.tensor(dtype));
        MapArgs args{.map = c.map,
                     .a = a.tensor(dtype),
                     .b = b.tensor(dtype),
                     .s0 = c.s0,
                     .s1 = c.s1,
                     .s2 = c.s2};
        Array want(Shape{n});
        for (std::int64_t i = 0; i < n; ++i) want[i] = c.f(d[i], a[i], b[i], args);
        if (!c.reads_d) d.values.assign(d.values.size(), std::nan(""));
        args.d = d.tensor(dtype);
        backend_of(Device{}).map(args);
        INFO(c.name << " " << name_of(dtype) << " n " << n);
        CHECK(relative_error(Array(args.d), want) <= tolerance(dtype, 2));
        // In place on a source: the destination may be one of them.
        if (!c.reads_d) {
          MapArgs in_place = args;
          in_place.d = in_place.a = a.tensor(dtype);
          backend_of(Device{}).map(in_place);
          CHECK(same_bits(in_place.d, args.d));
        }
      }
    }
  }
}

TEST_CASE("sums are exact where f64 is, and in an order fixed by the size", "[sum]") {
  Backend& cpu = backend_of(Device{});
  const int before = cpu::threads();
  for (std::int64_t n : kSizes) {
    // Multiples of 2^-10 below 64 in size: every partial sum of up to 2^31 of them, and of their
    // squares up to 2^22, is a number of f64, so nothing may be lost, neither a tail nor precision.
    const Rng rng(1, RngPurpose::test, stream_of("sum"));
    Array x(Shape{n});
    double sum = 0, squares = 0;
    for (std::int64_t i = 0; i < n; ++i) {
      x[i] = (static_cast<double>(rng.below(1 << 16, static_cast<std::uint64_t>(i))) - (1 << 15)) /
             1024;
      sum += x[i];
      squares += x[i] * x[i];
    }
    for (DType dtype : {DType::f32, DType::f64}) {
      INFO(name_of(dtype) << " n " << n);
      CHECK(cpu.sum(x.tensor(dtype)) == sum);
      CHECK(cpu.sum_squares(x.tensor(dtype)) == squares);
    }
    const Tensor rough = normal_array(Shape{n}, "rough").tensor(DType::f32);
    cpu::set_threads(1);
    const double one = cpu.sum(rough), one_square = cpu.sum_squares(rough);
    for (int threads : {2, 3, 8}) {
      cpu::set_threads(threads);
      CHECK(cpu.sum(rough) == one);
      CHECK(cpu.sum_squares(rough) == one_square);
    }
    cpu::set_threads(before);
  }
}

TEST_CASE("a squared sum beyond the range of f32 stays finite", "[sum]") {
  Tensor x = Tensor::empty({1000});
  x.fill(1e30);
  CHECK(backend_of(Device{}).sum_squares(x) == Approx(1e63).epsilon(1e-6));
}

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

TEST_CASE("dropout drops the share it is told, scales the rest, and repeats", "[dropout]") {
  Backend& cpu = backend_of(Device{});
  const std::int64_t n = 200001;
  Tensor x = Tensor::empty({n});
  x.fill(3);
  const auto drop = [&](double p, std::uint64_t seed, std::uint64_t stream) {
    Tensor y = Tensor::empty({n});
    y.fill(std::nan(""));
    cpu.dropout({.x = x, .y = y, .p = p, .beta = 0, .seed = seed, .stream = stream});
    return y;
  };
  for (double p : {0.1, 0.5, 0.9}) {
    const Tensor y = drop(p, 7, 11);
    std::int64_t dropped = 0, wrong = 0;
    for (float v : y.host<float>()) {
      if (v == 0)
        ++dropped;
      else if (std::abs(v - 3 / (1 - p)) > 1e-5)
        ++wrong;
    }
    INFO("p " << p);
    CHECK(wrong == 0);
    // Five standard deviations of a binomial count; a mask off by one part in a hundred is 20 away.
    const double mean = p * static_cast<double>(n), deviation = std::sqrt(mean * (1 - p));
    CHECK(std::abs(static_cast<double>(dropped) - mean) < 5 * deviation);
    CHECK(same_bits(y, drop(p, 7, 11)));
    CHECK(!same_bits(y, drop(p, 8, 11)));
    CHECK(!same_bits(y, drop(p, 7, 12)));
  }
  const Tensor nothing_dropped = drop(0, 7, 11);
  CHECK(same_bits(nothing_dropped, x));
  // beta = 1 adds the same masked values.
  Tensor sum = Tensor::empty({n});
  sum.fill(1);
  cpu.dropout({.x = x, .y = sum, .p = 0.5, .beta = 1, .seed = 7, .stream = 11});
  const Tensor y = drop(0.5, 7, 11);
  const std::span<const float> got = sum.host<float>(), masked = y.host<float>();
  std::int64_t wrong = 0;
  for (std::size_t i = 0; i < got.size(); ++i) wrong += got[i] != masked[i] + 1;
  CHECK(wrong == 0);
}

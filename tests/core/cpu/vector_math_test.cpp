#include "core/cpu/vector_math.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "tests/support/catch.h"

using namespace muonlab::cpu;

// The float approximations against the standard library's double functions, at the float's own
// argument. Bounds are those that the header states.
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// Largest |f(x) - exact(x)| / size(exact(x)) over a grid of about 400 thousand floats in [a, b].
template <class F, class G, class S>
double worst(float a, float b, const F& f, const G& exact, const S& size) {
  double error = 0;
  const int steps = 400000;
  for (int i = 0; i <= steps; ++i) {
    const float x = a + (b - a) * (static_cast<float>(i) / static_cast<float>(steps));
    const double want = exact(static_cast<double>(x));
    error = std::max(error, std::abs(static_cast<double>(f(x)) - want) / size(want));
  }
  return error;
}

double relative(double want) { return std::abs(want); }
double absolute(double) { return 1; }
double normal_cdf(double x) { return 0.5 * std::erfc(-x / std::numbers::sqrt2); }

}  // namespace

TEST_CASE("vexp keeps its stated error over the range of float", "[vector_math]") {
  const auto f = [](float x) { return vexp(x); };
  const auto exact = [](double x) { return std::exp(x); };
  CHECK(worst(-87.2f, 88.36f, f, exact, relative) < 2e-7);
  CHECK(worst(-1, 1, f, exact, relative) < 2e-7);
  CHECK(worst(-1e-6f, 1e-6f, f, exact, relative) < 2e-7);
  CHECK(vexp(0.0f) == 1);
  CHECK(vexp(-0.0f) == 1);
  CHECK(vexp(1e-42f) == 1);
  for (float x : {-88.0f, -1000.0f, -1e30f, -std::numeric_limits<float>::max(), -kInfinity})
    CHECK(vexp(x) == 0);
  for (float x : {88.73f, 1000.0f, 1e30f, std::numeric_limits<float>::max(), kInfinity})
    CHECK(vexp(x) == kInfinity);
  CHECK(std::isnan(vexp(std::nanf(""))));
}

TEST_CASE("vexp never decreases", "[vector_math]") {
  // Neighbouring floats around the points where the integer part of x / ln 2 changes.
  int falls = 0;
  for (int n = -125; n <= 127; ++n) {
    float x = (static_cast<float>(n) + 0.5f) * std::numbers::ln2_v<float>;
    for (int i = 0; i < 50; ++i) x = std::nextafter(x, -kInfinity);
    for (int i = 0; i < 100; ++i) {
      const float next = std::nextafter(x, kInfinity);
      // A drop of a unit in the last place is rounding; more would be a seam between pieces.
      falls += vexp(next) < vexp(x) * (1 - 4e-7f);
      x = next;
    }
  }
  CHECK(falls == 0);
}

TEST_CASE("vlogistic keeps its stated error and its limits", "[vector_math]") {
  const auto value = [](float x) { return vlogistic(x).value; };
  const auto slope = [](float x) { return vlogistic(x).slope; };
  const auto exact = [](double x) { return 1 / (1 + std::exp(-x)); };
  const auto exact_slope = [](double x) { return 1 / (2 + std::exp(x) + std::exp(-x)); };
  for (float range : {1e-3f, 5.0f, 85.0f}) {
    CHECK(worst(-range, range, value, exact, relative) < 6e-7);
    CHECK(worst(-range, range, slope, exact_slope, relative) < 6e-7);
  }
  for (float x : {100.0f, 1e30f, kInfinity}) {
    CHECK(vlogistic(x).value == 1);
    CHECK(vlogistic(-x).value == 0);
    CHECK(vlogistic(x).slope == 0);
    CHECK(vlogistic(-x).slope == 0);
  }
  CHECK(std::isnan(vlogistic(std::nanf("")).value));
  CHECK(std::isnan(vlogistic(std::nanf("")).slope));
}

TEST_CASE("vnormal keeps its stated error", "[vector_math]") {
  const auto cdf = [](float x) { return vnormal(x).cdf; };
  CHECK(worst(-14, 14, cdf, normal_cdf, absolute) < 2.5e-7);
  CHECK(worst(-5, 0, cdf, normal_cdf, relative) < 1e-6);
  CHECK(worst(-1e-3f, 1e-3f, cdf, normal_cdf, relative) < 1e-6);
  const auto density = [](double x) {
    return std::exp(-0.5 * x * x) / std::sqrt(2 * std::numbers::pi);
  };
  CHECK(worst(
            -14, 14, [](float x) { return vnormal(x).density; }, density, absolute) < 2e-7);
  for (float x : {20.0f, 1e30f, kInfinity}) {
    CHECK(vnormal(x).cdf == 1);
    CHECK(vnormal(-x).cdf == 0);
    CHECK(vnormal(x).density == 0);
  }
  CHECK(std::isnan(vnormal(std::nanf("")).cdf));
}

TEST_CASE("the double forms are as exact as the library's", "[vector_math]") {
  for (double x : {-30.0, -1.5, -1e-9, 0.0, 0.7, 30.0}) {
    CHECK(vexp(x) == std::exp(x));
    CHECK(vnormal(x).cdf == Approx(normal_cdf(x)).epsilon(1e-15));
    CHECK(vlogistic(x).value == Approx(1 / (1 + std::exp(-x))).epsilon(1e-15));
    CHECK(vlogistic(x).slope == Approx(1 / (2 + std::exp(x) + std::exp(-x))).epsilon(1e-15));
  }
}

#include "tests/support/gradcheck.h"

#include <algorithm>
#include <cmath>

#include "core/rng.h"
#include "tests/support/array.h"
#include "tests/support/catch.h"
#include "tests/support/close.h"

namespace muonlab::test {

void check_gradient(const std::string& name, const std::function<double()>& loss, Tensor x,
                    const Tensor& grad, int elements, double noise) {
  INFO("gradient of " << name);
  REQUIRE(grad.shape() == x.shape());
  const Array start(x), g(grad);
  const std::int64_t n = x.numel();
  const double scale = rms(g);

  // In units of the values: the truncation error is of order step^2 = 1e-10, the rounding error of
  // order eps / step = 2e-11 of the function.
  const double size = rms(start);
  const double step = 1e-5 * (size > 0 ? size : 1);
  const auto derivative = [&](const std::function<void(Array&, double)>& move) {
    Array moved = start;
    move(moved, step);
    x.copy_from(moved.tensor(DType::f64, x.device()));
    const double up = loss();
    moved = start;
    move(moved, -step);
    x.copy_from(moved.tensor(DType::f64, x.device()));
    const double down = loss();
    return (up - down) / (2 * step);
  };
  const double rounding = noise / step;

  const Rng rng(1, RngPurpose::test, stream_of(name.c_str()));
  std::uint64_t draw = 0;
  for (int i = 0; i < 3; ++i) {
    std::vector<double> direction(static_cast<std::size_t>(n));
    double expected = 0;
    for (std::int64_t k = 0; k < n; ++k) {
      double& d = direction[static_cast<std::size_t>(k)];
      d = rng.bits(draw++) % 2 ? 1 : -1;
      expected += d * g[k];
    }
    const double measured = derivative([&](Array& a, double h) {
      for (std::int64_t k = 0; k < n; ++k) a[k] += h * direction[static_cast<std::size_t>(k)];
    });
    const double full = std::max(std::abs(expected), scale * std::sqrt(static_cast<double>(n)));
    INFO("random direction " << i << ": backward " << expected << ", differences " << measured);
    CHECK(std::abs(measured - expected) <= kGradientTolerance * full + rounding);
  }
  for (int i = 0; i < std::min<std::int64_t>(elements, n); ++i) {
    const std::int64_t k =
        elements >= n ? i
        : i == 0      ? 0
        : i == 1      ? n - 1
                      : static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>(n), draw++));
    const double measured = derivative([&](Array& a, double h) { a[k] += h; });
    INFO("element " << k << ": backward " << g[k] << ", differences " << measured);
    CHECK(std::abs(measured - g[k]) <=
          kGradientTolerance * std::max(std::abs(g[k]), scale) + rounding);
  }
  x.copy_from(start.tensor(DType::f64, x.device()));
}

}  // namespace muonlab::test

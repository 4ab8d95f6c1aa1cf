#include "tests/support/close.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

namespace muonlab::test {

double epsilon(DType dtype) {
  return dtype == DType::f64 ? std::numeric_limits<double>::epsilon()
                             : static_cast<double>(std::numeric_limits<float>::epsilon());
}

double tolerance(DType dtype, std::int64_t terms) {
  const double root = std::sqrt(static_cast<double>(terms));
  const double bound = 8 * epsilon(dtype) * root;
  if (bound > 0.1 / root)
    throw std::logic_error("too many terms: a missing one would be hard to see");
  return bound;
}

double relative_error(const Array& got, const Array& want) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (got.shape != want.shape) return kInfinity;
  const double scale = rms(want);
  double worst = 0;
  for (std::int64_t i = 0; i < want.numel(); ++i) {
    const double error = std::abs(got[i] - want[i]);
    if (error == 0) continue;
    if (!std::isfinite(error)) return kInfinity;
    worst = std::max(worst, error / std::max(std::abs(want[i]), scale));
  }
  return worst;
}

}  // namespace muonlab::test

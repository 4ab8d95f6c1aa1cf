#include "optim/steps/shape_scale.h"

#include <algorithm>
#include <cmath>

namespace muonlab {

double shape_scale(ShapeScale scale, const Shape& matrix, double kappa) {
  const auto rows = static_cast<double>(matrix[0]), cols = static_cast<double>(matrix[1]);
  switch (scale) {
    case ShapeScale::rms:
      return kappa * std::sqrt(std::max(rows, cols));
    case ShapeScale::spectral:
      return std::sqrt(std::max(1.0, rows / cols));
    case ShapeScale::spectral_full:
      return std::sqrt(rows / cols);
    case ShapeScale::sqrtmax:
      return std::sqrt(std::max(rows, cols));
    case ShapeScale::none:
      return 1;
  }
  return 1;
}

}  // namespace muonlab

#pragma once

#include <cmath>
#include <cstdint>

#include "core/math.h"

// Running means that rules are built from. All are elementwise, on tensors of one shape.
namespace muonlab {

/// m = beta m + (1 - beta) x
inline void ema(Tensor& m, const Tensor& x, double beta) { math::lerp(m, x, 1 - beta); }

/// v = beta v + (1 - beta) x^2
inline void ema_square(Tensor& v, const Tensor& x, double beta) {
  math::lerp_square(v, x, 1 - beta);
}

/// u = (1 - beta) g + beta m, where m is an `ema` that has already seen g: what m would be if the
/// next gradient were g again.
inline void nesterov(Tensor& u, const Tensor& m, const Tensor& g, double beta) {
  math::add(u, 1 - beta, g, beta, m);
}

/// 1 - beta^t: the weight that an `ema` from zero has collected after t values.
inline double bias_correction(double beta, std::int64_t t) {
  return 1 - std::pow(beta, static_cast<double>(t));
}

}  // namespace muonlab

#pragma once

#include <cmath>
#include <cstdint>

#include "core/elementwise.h"

// Running means that rules are built from.
namespace muonlab {

/// beta m + (1 - beta) x
inline Lane ema(Lane m, Lane x, double beta) { return lerp(m, x, 1 - beta); }

/// (1 - beta) g + beta m, where m is an `ema` that has already seen g: what m would be if the next
/// gradient were g again.
inline Lane nesterov(Lane m, Lane g, double beta) { return lerp(m, g, 1 - beta); }

/// 1 - beta^t: the weight that an `ema` from zero has collected after t values.
inline double bias_correction(double beta, std::int64_t t) {
  return 1 - std::pow(beta, static_cast<double>(t));
}

}  // namespace muonlab

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

/// How a running mean of gradients becomes the direction that is orthogonalised.
/// Paper: Jordan et al. 2024, "Muon" (lerp); mean_corrected: Dozat 2016, "NAdam", as in optax.
enum class MomentumForm : std::uint8_t {
  lerp,            ///< m = mu m + (1 - mu) g
  sum,             ///< m = mu m + g
  mean_corrected,  ///< lerp divided by the weight that it has collected
};

/// Updates m by g in update t, and returns it, or what it would be one gradient further on.
inline Lane momentum(MomentumForm form, Lane& m, const Lane& g, double mu, bool look_ahead,
                     std::int64_t t) {
  if (form == MomentumForm::sum) {
    m = mu * m + g;
    return look_ahead ? g + mu * m : m;
  }
  m = ema(m, g, mu);
  if (form == MomentumForm::lerp) return look_ahead ? nesterov(m, g, mu) : m;
  const double now = bias_correction(mu, t);
  return look_ahead ? (mu / bias_correction(mu, t + 1)) * m + ((1 - mu) / now) * g : m / now;
}

}  // namespace muonlab

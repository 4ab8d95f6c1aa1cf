#pragma once

#include <cstdint>

#include "core/shape.h"

namespace muonlab {

/// How long the update of an orthogonalised matrix is made. An orthogonal matrix of full rank has
/// root mean square 1/sqrt(max(rows, cols)).
enum class ShapeScale : std::uint8_t {
  rms,            ///< kappa sqrt(max(rows, cols)): an element has root mean square kappa, as Adam's
  spectral,       ///< sqrt(max(1, rows / cols)): the map changes its output by about as much as its
                  ///< input
  spectral_full,  ///< sqrt(rows / cols), also where that is below 1
  sqrtmax,        ///< sqrt(max(rows, cols))
  none,           ///< 1
};

/// The factor for a matrix of this shape, which must be the shape that was orthogonalised: a block
/// of a packed weight, not the whole.
/// Paper: rms: Liu et al. 2025, "Muon is scalable for LLM training", section 2.2; spectral: Jordan
/// et al. 2024, "Muon"; spectral_full: Pethick et al. 2025, "Scion".
double shape_scale(ShapeScale scale, const Shape& matrix, double kappa);

}  // namespace muonlab

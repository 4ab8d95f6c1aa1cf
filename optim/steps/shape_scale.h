#pragma once

#include <cstdint>

#include "core/shape.h"

namespace muonlab {

/// How long the update of an orthogonalised matrix is made.
enum class ShapeScale : std::uint8_t {
  rms,       ///< kappa sqrt(max(rows, cols)): an element has root mean square kappa, as Adam's has
  spectral,  ///< sqrt(max(1, rows / cols)): the map changes its output by about as much as its
             ///< input
};

/// The factor for a matrix of this shape, which must be the shape that was orthogonalised: a block
/// of a packed weight, not the whole.
/// Paper: rms: Liu et al. 2025, "Muon is scalable for LLM training", section 2.2; spectral: Jordan
/// et al. 2024, "Muon". An orthogonal matrix of full rank has root mean square 1/sqrt(max(r, c)).
double shape_scale(ShapeScale scale, const Shape& matrix, double kappa);

}  // namespace muonlab

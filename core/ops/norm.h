#pragma once

#include "core/autograd.h"

namespace muonlab {

/// y = (x - mean) / sqrt(var + eps) * w + b over the last dim; var is biased.
/// Shapes: x, y (..., C); w (C); b (C), or an empty Var for none. Throws: ShapeError, DtypeError.
/// Paper: Ba, Kiros, Hinton 2016, equation 4.
Var layer_norm(const Var& x, const Var& w, const Var& b = {}, double eps = 1e-5);

/// y = x / sqrt(mean(x^2) + eps) * w over the last dim.
/// Shapes: x, y (..., C); w (C). Throws: ShapeError, DtypeError.
/// Paper: Zhang, Sennrich 2019, equation 4.
Var rms_norm(const Var& x, const Var& w, double eps = 1e-5);

}  // namespace muonlab

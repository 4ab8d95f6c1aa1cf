#pragma once

#include "core/autograd.h"
#include "core/backend.h"

namespace muonlab {

/// y = act(x wT + b).
/// Shapes: x (..., K); w (M, K); b (M), or an empty Var for none; y (..., M).
/// Throws: ShapeError, DtypeError.
Var linear(const Var& x, const Var& w, const Var& b = {}, Activation activation = Activation::none);

}  // namespace muonlab

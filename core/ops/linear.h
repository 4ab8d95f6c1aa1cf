#pragma once

#include "core/autograd.h"
#include "core/backend.h"

namespace muonlab {

/// y = act(x) wT + b. With an activation this is the second half of a feed-forward layer: x alone
/// is kept for the backward pass, which computes act(x) again beside act'(x), over x itself if the
/// tape is its last owner. Shapes: x (..., K); w (M, K); b (M), or an empty Var for none; y
/// (..., M). Throws: ShapeError, DtypeError.
Var linear(const Var& x, const Var& w, const Var& b = {},
           Activation input_activation = Activation::none);

}  // namespace muonlab

#pragma once

#include "core/autograd.h"
#include "core/backend.h"

namespace muonlab {

// Elementwise primitives: all tensors of one shape. Throws: ShapeError, DtypeError.

/// y = a + b
Var add(const Var& a, const Var& b);
/// y = a b
Var mul(const Var& a, const Var& b);
/// y = factor x
Var scale(const Var& x, double factor);
/// y = act(x)
Var activate(const Var& x, Activation activation);
/// y = x mask / (1 - p): each element is dropped with probability p in [0, 1). The mask is a pure
/// function of (seed, stream, element), recomputed in the backward pass and never stored.
/// Throws: ConfigError for p outside [0, 1). Paper: Srivastava et al. 2014.
Var dropout(const Var& x, double p, std::uint64_t seed, std::uint64_t stream);

}  // namespace muonlab

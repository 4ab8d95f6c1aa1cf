#pragma once

#include "core/autograd.h"

namespace muonlab {

/// y[b, t] = wte[ids[b, t]] + wpe[position + t].
/// Shapes: ids (B, T) i32; wte (V, C); wpe (P, C) with position + T <= P, or an empty Var for none;
/// y (B, T, C). ids may be on the CPU, where looking at them waits for no device.
/// Throws: ShapeError, DtypeError; Error for an id outside [0, V).
Var embedding(const Tensor& ids, const Var& wte, const Var& wpe = {}, std::int64_t position = 0);

}  // namespace muonlab

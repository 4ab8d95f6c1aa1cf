#pragma once

#include "core/autograd.h"

namespace muonlab {

/// Mean of -log softmax(logits)[target] over the rows, in nats; a one-element Var. Backward writes
/// the gradient over the logits themselves if the tape is their last owner: pass them as a
/// temporary, and they are held once. Shapes: logits (..., V); targets (...) i32 in [0, V), here or
/// on the CPU. Throws: ShapeError, DtypeError; Error for a target outside the vocabulary.
Var softmax_cross_entropy(Var logits, const Tensor& targets);

}  // namespace muonlab

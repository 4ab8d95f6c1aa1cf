#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/checkpoint.h"
#include "nn/gpt.h"
#include "tests/support/array.h"

namespace muonlab::test {

/// Two layers, four heads, 16 wide, 12 positions, 19 tokens; no bias, no dropout, tied head.
GptConfig tiny_config();

/// A GPT with parameters drawn wide enough (matrices 0.3, vectors 0.1 around their usual value)
/// that every one of them matters: at the usual initial values half of the model is nearly linear.
Gpt tiny_model(const GptConfig& config, DType dtype);

/// Inputs and targets (B, T) drawn at random.
struct TinyBatch {
  Tensor ids, targets;
};
TinyBatch tiny_batch(const GptConfig& config, std::int64_t batch, const std::string& name);

/// One forward and backward pass: adds to the gradients, returns the loss. `seed` scales the
/// gradients, as the share of a micro-batch does.
double forward_backward(const Gpt& model, const TinyBatch& batch, const Forward& forward = {},
                        double seed = 1);

/// The gradient of every parameter by name.
std::vector<NamedTensor> gradients(const Gpt& model);

}  // namespace muonlab::test

#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>

#include "nn/config.h"
#include "optim/config.h"

// What a model must at least have of memory, from its sizes alone: so that one that cannot fit is
// refused in a sentence, before the operating system ends the process without one. All in bytes, as
// doubles, since products of sizes that are each in range exceed 64 bits.
namespace muonlab {

/// A reason why memory is needed.
struct MemoryPart {
  std::string what;
  double bytes = 0;
};

/// What is live in a training step at the end of its last forward pass and at the end of backward,
/// by when gradients have taken the place of activations. The peak lies a little above: a few
/// gradients of activations, and what kernels need beside their tensors.
struct StepMemory {
  double weights = 0, gradients = 0, state = 0, activations = 0;
  bool accumulates = false;  ///< gradients of earlier micro-batches are live in a forward pass
  double after_forward() const {
    return weights + state + activations + (accumulates ? gradients : 0);
  }
  double after_backward() const { return weights + state + gradients; }
  double total() const { return std::max(after_forward(), after_backward()); }
};
StepMemory step_memory(const GptConfig& model, const OptimizerConfig& optimizer, std::int64_t batch,
                       std::int64_t grad_accum);

double weights_memory(const GptConfig& model);
/// Keys and values of one full window.
double cache_memory(const GptConfig& model);

/// Throws: ConfigError if the parts together exceed what this process may use (apps/machine.h):
/// "<what> needs at least 3.0 TiB of memory (<part> 2.9 TiB, ...), but this machine has 23.5 GiB;
/// <advice>".
void require_memory(const std::string& what, std::span<const MemoryPart> parts,
                    const std::string& advice);
/// The same for a training step; the advice names the options that matter most.
void require_step_memory(const GptConfig& model, const OptimizerConfig& optimizer,
                         std::int64_t batch, std::int64_t grad_accum);

/// The same for writing text.
void require_sampling_memory(const GptConfig& model, bool cache, const std::string& advice);
/// The same for a loss on batches of `batch` windows, without gradients.
void require_evaluation_memory(const GptConfig& model, std::int64_t batch);

/// "96.5 KiB", "23.5 GiB"
std::string size_text(double bytes);

}  // namespace muonlab

#pragma once

#include <cstdint>

#include "core/backend.h"
#include "core/options.h"

namespace muonlab {

/// Sizes and choices of a GPT, in nanoGPT's words.
struct GptConfig {
  std::int64_t n_layer = 4;
  std::int64_t n_head = 4;
  std::int64_t n_kv_head = 0;  ///< 0: as many as n_head
  std::int64_t n_embd = 128;
  std::int64_t block_size = 64;
  std::int64_t vocab_size = 0;  ///< taken from the data
  bool bias = false;
  double dropout = 0;
  bool tied_head = true;
  Activation activation = Activation::gelu;

  std::int64_t kv_heads() const { return n_kv_head ? n_kv_head : n_head; }
  std::int64_t head_size() const { return n_embd / n_head; }
};

/// The options of a GptConfig; vocab_size is not one, since the data decides it.
OptionTable options(GptConfig& config);

/// Throws: ConfigError for the first pair of values that cannot go together.
void validate(const GptConfig& config);

/// Standard deviation of projections that write to the residual stream: .02 / sqrt(2 L), so that
/// the stream's variance does not grow with depth. Paper: Radford et al. 2019 (GPT-2), section 2.3.
double residual_std(const GptConfig& config);

}  // namespace muonlab

#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "nn/gpt.h"

namespace muonlab {

/// How the next token is drawn from the model's logits.
struct SamplingOptions {
  double temperature = 0.8;  ///< 0: always the most likely token
  std::int64_t top_k = 0;    ///< draw among the k most likely; 0: among all
  double top_p = 1;          ///< draw among the fewest tokens that together have this probability
  std::uint64_t seed = 1;
};

/// The token that a uniform number u in [0, 1) selects. Equal logits keep the order of their ids.
/// Paper: Holtzman et al. 2020, "The curious case of neural text degeneration" (top-p).
std::int32_t draw_token(std::span<const double> logits, const SamplingOptions& options, double u);

/// Writes tokens one by one. The model sees at most block_size of them: when its window is full,
/// the newer half stays and the window fills up again, so that cached keys and values, which belong
/// to positions in the window, serve for half a window before they are computed anew.
class Generator {
 public:
  /// `prompt` is not empty; of a longer one the last block_size tokens count. `cache`: keep keys
  /// and values; without, every token runs the whole window through the model, to the same effect.
  Generator(const Gpt& model, std::span<const std::int32_t> prompt, const SamplingOptions& options,
            bool cache = true);

  std::int32_t next();

 private:
  Tensor next_logits();

  const Gpt& model_;
  SamplingOptions options_;
  bool use_cache_;
  std::vector<std::int32_t> window_;
  KvCache cache_;
  std::uint64_t drawn_ = 0;
};

}  // namespace muonlab

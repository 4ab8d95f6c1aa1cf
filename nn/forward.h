#pragma once

#include <cstdint>

#include "core/autograd.h"
#include "core/ops/attention.h"

namespace muonlab {

/// What one forward pass is for.
struct Forward {
  bool training = false;          ///< dropout is on
  std::uint64_t seed = 0;         ///< of the run, for dropout
  std::uint64_t micro_batch = 0;  ///< its number in the run: each draws other masks

  /// Dropout at place `site` of the model while training; x itself otherwise.
  Var drop(const Var& x, double p, std::uint64_t site) const;
  /// The same for the probabilities of an attention.
  AttentionDropout attention_dropout(double p, std::uint64_t site) const;

 private:
  std::uint64_t stream(std::uint64_t site) const;
};

}  // namespace muonlab

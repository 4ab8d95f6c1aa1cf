#pragma once

#include <cstdint>

#include "core/tensor.h"
#include "data/corpus.h"

namespace muonlab {

/// Inputs and targets of one batch: (B, T) i32 each; targets are the inputs shifted by one.
struct Batch {
  Tensor ids, targets;
};

/// Random windows: a pure function of (seed, step, micro), so that resume and comparison need no
/// reader state. Throws: ConfigError if the tokens are fewer than T + 1.
Batch training_batch(const Tokens& tokens, std::int64_t batch, std::int64_t block, std::uint64_t seed,
                     std::int64_t step, std::int64_t micro);

/// Non-overlapping windows in file order for whole-split evaluation: number of windows of `block`,
/// (size - 1) / block; and windows [first, first + count) of them.
std::int64_t window_count(const Tokens& tokens, std::int64_t block);
Batch windows(const Tokens& tokens, std::int64_t block, std::int64_t first, std::int64_t count);

}  // namespace muonlab

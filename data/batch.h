#pragma once

#include <cstdint>

#include "core/tensor.h"
#include "data/corpus.h"

namespace muonlab {

/// Inputs and targets of one batch: (B, T) i32 each, on the CPU; targets are the inputs shifted by
/// one.
struct Batch {
  Tensor ids, targets;
};

/// Checks that both splits hold at least one window of `block` tokens and its target, so that a run
/// fails before its first step. Throws: ConfigError.
void check_block_size(const Corpus& corpus, std::int64_t block);

/// Random windows: a pure function of (seed, step, micro), so that resume and comparison need no
/// reader state. Throws: ConfigError if the tokens are fewer than T + 1.
Batch training_batch(const Tokens& tokens, std::int64_t batch, std::int64_t block,
                     std::uint64_t seed, std::int64_t step, std::int64_t micro);

/// Non-overlapping windows in file order for whole-split evaluation: the number of windows of
/// `block`, (size - 1) / block; a last part that is shorter than a window is left out.
std::int64_t window_count(const Tokens& tokens, std::int64_t block);
/// Windows [first, first + count) of them, as one batch. Throws: ShapeError if there are fewer.
Batch windows(const Tokens& tokens, std::int64_t block, std::int64_t first, std::int64_t count);

}  // namespace muonlab

#include "data/batch.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/rng.h"

namespace muonlab {
namespace {

void require_window(const char* what, const Tokens& tokens, std::int64_t block) {
  if (tokens.size() <= block)
    throw ConfigError(
        fmt::format("the {} holds {} tokens, but block_size {} needs at least {}: choose a smaller "
                    "--block_size or a longer text",
                    what, tokens.size(), block, block + 1));
}

// Batch whose row b starts at token start(b).
template <class Start>
Batch gather(const Tokens& tokens, std::int64_t rows, std::int64_t block, Start start) {
  Batch batch{Tensor::empty({rows, block}, DType::i32), Tensor::empty({rows, block}, DType::i32)};
  std::vector<std::int32_t> window(static_cast<std::size_t>(block) + 1);
  for (std::int64_t b = 0; b < rows; ++b) {
    tokens.read(start(b), window);
    std::copy(window.begin(), window.end() - 1, batch.ids.data<std::int32_t>() + b * block);
    std::copy(window.begin() + 1, window.end(), batch.targets.data<std::int32_t>() + b * block);
  }
  return batch;
}

}  // namespace

void check_block_size(const Corpus& corpus, std::int64_t block) {
  require_window("training split", corpus.train, block);
  require_window("validation split", corpus.val, block);
}

Batch training_batch(const Tokens& tokens, std::int64_t batch, std::int64_t block,
                     std::uint64_t seed, std::int64_t step, std::int64_t micro) {
  require_window("text", tokens, block);
  const Rng rng(seed, RngPurpose::batch, static_cast<std::uint64_t>(step));
  const auto starts = static_cast<std::uint64_t>(tokens.size() - block);
  return gather(tokens, batch, block, [&](std::int64_t b) {
    return static_cast<std::int64_t>(
        rng.below(starts, static_cast<std::uint64_t>(micro * batch + b)));
  });
}

std::int64_t window_count(const Tokens& tokens, std::int64_t block) {
  return std::max<std::int64_t>(0, tokens.size() - 1) / block;
}

Batch windows(const Tokens& tokens, std::int64_t block, std::int64_t first, std::int64_t count) {
  return gather(tokens, count, block, [&](std::int64_t b) { return (first + b) * block; });
}

}  // namespace muonlab

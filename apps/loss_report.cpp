#include "apps/loss_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <numbers>
#include <vector>

#include "data/batch.h"

namespace muonlab {
namespace {

/// Characters (UTF-8 lead bytes) in the text of tokens [begin, begin + count).
std::int64_t count_characters(const Tokens& tokens, std::int64_t begin, std::int64_t count,
                              const Tokenizer& tokenizer) {
  constexpr std::int64_t kPart = 1 << 16;
  std::int64_t characters = 0;
  std::vector<std::int32_t> ids;
  for (std::int64_t done = 0; done < count; done += kPart) {
    ids.resize(static_cast<std::size_t>(std::min(kPart, count - done)));
    tokens.read(begin + done, ids);
    for (const char c : tokenizer.decode(ids))
      characters += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }
  return characters;
}

}  // namespace

LossReport report_loss(double loss, const Corpus& corpus, bool validation, std::int64_t block) {
  const Tokens& split = validation ? corpus.val : corpus.train;
  LossReport r;
  r.loss = loss;
  r.tokens = window_count(split, block) * block;
  r.left_out = split.size() - 1 - r.tokens;
  if (corpus.tokenizer) {
    // Targets are the tokens one behind the inputs.
    const auto characters =
        static_cast<double>(count_characters(split, 1, r.tokens, *corpus.tokenizer));
    r.bits_per_character = loss / std::numbers::ln2 * static_cast<double>(r.tokens) / characters;
  }
  if (validation && corpus.val_floor) r.above_floor = loss - *corpus.val_floor;
  return r;
}

std::string LossReport::text() const {
  std::string line = fmt::format("{:.4f} nats per token", loss);
  if (bits_per_character) line += fmt::format(", {:.4f} bits per character", *bits_per_character);
  if (above_floor) line += fmt::format(", {:.4f} above the floor", *above_floor);
  return line;
}

void LossReport::add_to(JsonObject& object) const {
  object.add("loss", loss)
      .add("bits_per_character", bits_per_character)
      .add("above_floor", above_floor)
      .add("tokens", tokens)
      .add("tokens_left_out", left_out);
}

}  // namespace muonlab

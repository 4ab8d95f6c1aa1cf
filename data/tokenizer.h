#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace muonlab {

/// Text to token ids and back. Saved as JSON in the run folder, so that sampling needs nothing else.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  virtual std::int64_t vocab_size() const = 0;
  /// Throws: Error naming the first character that the vocabulary lacks, FormatError for text that is
  /// not UTF-8.
  virtual std::vector<std::int32_t> encode(std::string_view text) const = 0;
  /// Text of the ids; partial UTF-8 sequences of a byte tokenizer come out as they are.
  virtual std::string decode(std::span<const std::int32_t> ids) const = 0;
  virtual std::string to_json() const = 0;

  /// Throws: FormatError.
  static std::unique_ptr<Tokenizer> from_json(std::string_view json);
};

}  // namespace muonlab

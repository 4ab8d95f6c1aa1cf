#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace muonlab {

/// Text to token ids and back. Saved as JSON in the run folder, so that sampling needs nothing
/// else.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  virtual std::int64_t vocab_size() const = 0;
  /// Throws: ConfigError naming the first character that the vocabulary lacks, FormatError for text
  /// that is not UTF-8.
  virtual std::vector<std::int32_t> encode(std::string_view text) const = 0;
  /// Text of the ids; partial UTF-8 sequences of a byte tokenizer come out as they are.
  /// Throws: FormatError for an id outside the vocabulary.
  virtual std::string decode(std::span<const std::int32_t> ids) const = 0;
  virtual std::string to_json() const = 0;

  /// Throws: FormatError if the text is not exactly what some `to_json` writes.
  static std::unique_ptr<Tokenizer> from_json(std::string_view text);
};

/// One token per Unicode code point of a vocabulary, numbered in its order (nanoGPT: the sorted set
/// of all characters of the text). JSON: {"kind": "characters", "vocabulary": "\n !..."}.
class CharTokenizer final : public Tokenizer {
 public:
  /// Throws: FormatError if the vocabulary is empty or names a character twice.
  explicit CharTokenizer(std::vector<char32_t> vocabulary);

  std::int64_t vocab_size() const override { return static_cast<std::int64_t>(vocabulary_.size()); }
  std::vector<std::int32_t> encode(std::string_view text) const override;
  std::string decode(std::span<const std::int32_t> ids) const override;
  std::string to_json() const override;

  /// Id of a code point, or -1 if the vocabulary lacks it.
  std::int32_t id_of(char32_t value) const;

 private:
  std::vector<char32_t> vocabulary_;
  std::array<std::int32_t, 128> ascii_;                      // id or -1: most text is ASCII
  std::vector<std::pair<char32_t, std::int32_t>> by_value_;  // sorted
};

/// One token per byte, and always all 256 of them: every text and every file can be read, and a
/// prompt may hold bytes that the training text lacks. JSON: {"kind": "bytes"}.
class ByteTokenizer final : public Tokenizer {
 public:
  std::int64_t vocab_size() const override { return 256; }
  std::vector<std::int32_t> encode(std::string_view text) const override;
  std::string decode(std::span<const std::int32_t> ids) const override;
  std::string to_json() const override;
};

}  // namespace muonlab

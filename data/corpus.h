#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "core/options.h"
#include "data/tokenizer.h"

namespace muonlab {

/// Where the tokens come from.
struct DataConfig {
  std::string data = "builtin";      ///< builtin, shakespeare, a text file, a token file, or a folder
  bool bytes = false;                ///< tokenize text by bytes instead of by characters
  std::int64_t builtin_size = 1000000;  ///< characters of the builtin corpus
  std::uint64_t builtin_seed = 1;
};
OptionTable options(DataConfig& config);

/// A sequence of tokens that may live in a mapped file. Cheap to copy; keeps its file open.
class Tokens {
 public:
  class Source;  // how a file's bytes become ids
  Tokens() = default;
  Tokens(std::shared_ptr<const Source> source, std::int64_t begin, std::int64_t end);
  std::int64_t size() const { return end_ - begin_; }
  /// Writes tokens [at, at + out.size()) to out. Throws: FormatError naming file and position of a
  /// token outside the vocabulary.
  void read(std::int64_t at, std::span<std::int32_t> out) const;
  Tokens slice(std::int64_t begin, std::int64_t end) const;

 private:
  std::shared_ptr<const Source> source_;
  std::int64_t begin_ = 0, end_ = 0;
};

struct Corpus {
  std::string name;                      ///< for people: "shakespeare", a path
  std::shared_ptr<const Tokenizer> tokenizer;  ///< null for token files without text
  std::int64_t vocab_size = 0;
  Tokens train, val;                     ///< the last 10 % of the tokens are val (rounded as nanoGPT)
  std::string sha256;                    ///< of the bytes that the tokens come from
  /// builtin only: the corpus's exact entropy in nats per token: of the held-out text itself
  /// (-log p / tokens), and of the source.
  std::optional<double> val_floor, source_entropy;
};

/// Opens a corpus. Throws: IoError, FormatError, ConfigError, each one sentence that says what to do.
Corpus open_corpus(const DataConfig& config);

}  // namespace muonlab

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
  std::string data = "builtin";         ///< see open_corpus
  bool bytes = false;                   ///< tokenize text by bytes instead of by characters
  std::int64_t builtin_size = 1000000;  ///< characters of the builtin corpus
  std::uint64_t builtin_seed = 1;
  /// Of token files without meta.pkl; 0: derived from their largest token. Text has its own.
  std::int64_t vocab_size = 0;
};
OptionTable options(DataConfig& config);

/// A sequence of tokens that may live in a mapped file. Cheap to copy; keeps its file open.
class Tokens {
 public:
  class Source;  // how a file's bytes become ids
  Tokens() = default;
  Tokens(std::shared_ptr<const Source> source, std::int64_t begin, std::int64_t end);
  std::int64_t size() const { return end_ - begin_; }
  /// Writes tokens [at, at + out.size()) to out. Throws: ShapeError if there are fewer, FormatError
  /// naming file and position of a token outside the vocabulary.
  void read(std::int64_t at, std::span<std::int32_t> out) const;
  /// Tokens [begin, end) of these. Throws: ShapeError.
  Tokens slice(std::int64_t begin, std::int64_t end) const;

 private:
  void require(std::int64_t begin, std::int64_t end) const;

  std::shared_ptr<const Source> source_;
  std::int64_t begin_ = 0, end_ = 0;
};

struct Corpus {
  std::string name;                            ///< for people: "shakespeare", a path
  std::shared_ptr<const Tokenizer> tokenizer;  ///< null for token files without text
  std::int64_t vocab_size = 0;
  std::optional<std::int64_t> largest_token;  ///< if the vocabulary was derived from it
  Tokens train, val;   ///< val is the last 10 % of the tokens (rounded as nanoGPT) or a file's own
  std::string sha256;  ///< of the bytes that the tokens come from
  /// builtin only: -log p(held-out text) / its n tokens, in nats, exact. A model that has not seen
  /// the text cannot count on less: the probability that its total loss on them lies k nats below
  /// n val_floor is at most e^-k (Markov's inequality on the ratio of likelihoods), so 20 / n nats
  /// per token bounds the luck that is possible. Evaluation in windows leaves out a few tokens,
  /// whose share of the floor is not the mean: that moves the comparison by at most their nats / n.
  std::optional<double> val_floor;
  /// builtin only: the expectation of the same, which is the entropy rate of the source, exact.
  std::optional<double> source_entropy;
};

/// Opens a corpus by DataConfig::data:
/// - "builtin": stories that the program writes from `builtin_seed` (data/story.h), at least
///   `builtin_size` characters, in whole passages; the split falls between two of them;
/// - "shakespeare": tiny Shakespeare from the cache folder, size and checksum verified;
/// - a folder: nanoGPT's train.bin and val.bin (16-bit tokens). With nanoGPT's meta.pkl for
///   characters beside them, its vocabulary and its text; otherwise `vocab_size`, or else the
///   largest token + 1, rounded up to a multiple of 64 (GPT-2's 50257 becomes nanoGPT's 50304);
/// - a file *.bin, or one that starts with its magic number: a token file of llm.c, vocabulary as
///   above;
/// - any other file: UTF-8 text, or any bytes with `bytes`.
/// Files are mapped, never copied. Throws: IoError, FormatError, ConfigError, each one sentence
/// that says what to do.
Corpus open_corpus(const DataConfig& config);

/// Where data/get_shakespeare.sh keeps tiny Shakespeare: $XDG_CACHE_HOME/muonlab, or
/// ~/.cache/muonlab. Throws: IoError if neither variable helps.
std::string shakespeare_path();

}  // namespace muonlab

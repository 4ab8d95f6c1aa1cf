#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "data/corpus.h"
#include "data/tokenizer.h"

// How the bytes of a corpus become token ids, on demand. Private to data/.
namespace muonlab {

/// Memory that a corpus is read from.
class ByteStore {
 public:
  virtual ~ByteStore() = default;
  /// Throws: FormatError if some of the bytes are gone.
  virtual void require_whole() const {}
};

/// A mapped file shows what others write to it, so what was found in it once may be gone.
[[noreturn]] void throw_changed(const std::string& name);

class Tokens::Source {
 public:
  virtual ~Source() = default;
  /// Writes the ids of tokens [at, at + out.size()), which the caller knows to exist.
  virtual void read(std::int64_t at, std::span<std::int32_t> out) const = 0;
};

struct TokenizedText {
  std::shared_ptr<const Tokenizer> tokenizer;
  Tokens tokens;
};

/// Text as characters, or as bytes. The vocabulary of characters is the sorted set of those that
/// occur. ASCII text and bytes are read in place; other text through the byte offset of every
/// 1024th character. `owner` keeps `text` alive; `name` is for errors. Throws: FormatError naming
/// the first byte that is not UTF-8.
TokenizedText open_text(std::shared_ptr<const ByteStore> owner, std::string_view text,
                        const std::string& name, bool bytes);

/// 16-bit tokens, each checked against the vocabulary whenever it is read: the file may change
/// after it was opened. `owner` keeps them alive; for errors, `name` is the file and `origin` says
/// where the vocabulary comes from (" in meta.pkl").
Tokens open_tokens(std::shared_ptr<const ByteStore> owner, std::span<const std::uint16_t> tokens,
                   const std::string& name, std::int64_t vocab_size, const std::string& origin);

}  // namespace muonlab

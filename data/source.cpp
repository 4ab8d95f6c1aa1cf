#include "data/source.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "core/error.h"
#include "data/utf8.h"

namespace muonlab {
namespace {

constexpr std::size_t kIndexStride = 1024;  // characters between two offsets of the index
constexpr std::size_t kCodePoints = 0x110000;

class ByteSource final : public Tokens::Source {
 public:
  // ids: -1 for bytes that the vocabulary lacks.
  ByteSource(std::shared_ptr<const ByteStore> owner, std::string_view text, std::string name,
             std::array<std::int32_t, 256> ids)
      : owner_(std::move(owner)), text_(text), name_(std::move(name)), ids_(ids) {}

  void read(std::int64_t at, std::span<std::int32_t> out) const override {
    owner_->require_whole();
    const std::string_view part = text_.substr(static_cast<std::size_t>(at), out.size());
    std::transform(part.begin(), part.end(), out.begin(),
                   [this](char c) { return ids_[static_cast<unsigned char>(c)]; });
    if (std::find(out.begin(), out.end(), -1) != out.end()) throw_changed(name_);
  }

 private:
  std::shared_ptr<const ByteStore> owner_;
  std::string_view text_;
  std::string name_;
  std::array<std::int32_t, 256> ids_;
};

class Utf8Source final : public Tokens::Source {
 public:
  Utf8Source(std::shared_ptr<const ByteStore> owner, std::string_view text, std::string name,
             std::vector<std::size_t> index, std::shared_ptr<const CharTokenizer> tokenizer)
      : owner_(std::move(owner)),
        text_(text),
        name_(std::move(name)),
        index_(std::move(index)),
        tokenizer_(std::move(tokenizer)) {}

  void read(std::int64_t at, std::span<std::int32_t> out) const override {
    owner_->require_whole();
    const auto first = static_cast<std::size_t>(at);
    std::size_t byte = index_[first / kIndexStride];
    for (std::size_t skip = first % kIndexStride; skip > 0; --skip) byte += next(byte).length;
    for (std::int32_t& id : out) {
      const Utf8Char c = next(byte);
      id = tokenizer_->id_of(c.value);
      if (id < 0) throw_changed(name_);
      byte += c.length;
    }
  }

 private:
  Utf8Char next(std::size_t byte) const {
    const Utf8Char c = byte < text_.size() ? decode_utf8(text_, byte) : Utf8Char{};
    if (c.length == 0) throw_changed(name_);
    return c;
  }

  std::shared_ptr<const ByteStore> owner_;
  std::string_view text_;
  std::string name_;
  std::vector<std::size_t> index_;
  std::shared_ptr<const CharTokenizer> tokenizer_;
};

class U16Source final : public Tokens::Source {
 public:
  U16Source(std::shared_ptr<const ByteStore> owner, std::span<const std::uint16_t> tokens,
            std::string name, std::int64_t vocab_size, std::string origin)
      : owner_(std::move(owner)),
        tokens_(tokens),
        name_(std::move(name)),
        vocab_size_(vocab_size),
        origin_(std::move(origin)) {}

  void read(std::int64_t at, std::span<std::int32_t> out) const override {
    owner_->require_whole();
    const auto part = tokens_.subspan(static_cast<std::size_t>(at), out.size());
    std::copy(part.begin(), part.end(), out.begin());
    const auto bad =
        std::find_if(out.begin(), out.end(), [this](std::int32_t id) { return id >= vocab_size_; });
    if (bad != out.end())
      throw FormatError(
          fmt::format("'{}' holds token {} at position {}, outside the vocabulary of {} tokens{}",
                      name_, *bad, at + (bad - out.begin()), vocab_size_, origin_));
  }

 private:
  std::shared_ptr<const ByteStore> owner_;
  std::span<const std::uint16_t> tokens_;
  std::string name_;
  std::int64_t vocab_size_;
  std::string origin_;
};

struct TextScan {
  std::vector<char32_t> vocabulary;  // sorted
  std::vector<std::size_t> index;    // byte offset of every kIndexStride-th character
  std::size_t characters = 0;
};

TextScan scan(std::string_view text, const std::string& name) {
  TextScan result;
  std::array<bool, 128> ascii{};
  std::vector<bool> others;  // by code point; most text needs none
  for (std::size_t at = 0; at < text.size(); ++result.characters) {
    if (result.characters % kIndexStride == 0) result.index.push_back(at);
    const auto lead = static_cast<unsigned char>(text[at]);
    if (lead < 128) {
      ascii[lead] = true;
      ++at;
      continue;
    }
    const Utf8Char c = decode_utf8(text, at);
    if (c.length == 0)
      throw FormatError(fmt::format(
          "'{}' is not UTF-8 text: byte 0x{:02x} at position {} starts no character; convert "
          "it to UTF-8, or read it as plain bytes with --bytes",
          name, lead, at));
    others.resize(kCodePoints);
    others[c.value] = true;
    at += c.length;
  }
  for (std::size_t c = 0; c < ascii.size(); ++c)
    if (ascii[c]) result.vocabulary.push_back(static_cast<char32_t>(c));
  for (std::size_t c = 0; c < others.size(); ++c)
    if (others[c]) result.vocabulary.push_back(static_cast<char32_t>(c));
  return result;
}

}  // namespace

void throw_changed(const std::string& name) {
  throw FormatError(fmt::format("'{}' changed while it was in use", name));
}

TokenizedText open_text(std::shared_ptr<const ByteStore> owner, std::string_view text,
                        const std::string& name, bool bytes) {
  std::array<std::int32_t, 256> ids;
  ids.fill(-1);
  const auto byte_tokens = [&] {
    return Tokens(std::make_shared<ByteSource>(std::move(owner), text, name, ids), 0,
                  static_cast<std::int64_t>(text.size()));
  };
  if (bytes) {
    for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::int32_t>(i);
    return {std::make_shared<ByteTokenizer>(), byte_tokens()};
  }
  TextScan found = scan(text, name);
  const auto tokenizer = std::make_shared<CharTokenizer>(std::move(found.vocabulary));
  if (found.characters == text.size()) {  // ASCII
    for (std::size_t i = 0; i < 128; ++i) ids[i] = tokenizer->id_of(static_cast<char32_t>(i));
    return {tokenizer, byte_tokens()};
  }
  const auto source =
      std::make_shared<Utf8Source>(std::move(owner), text, name, std::move(found.index), tokenizer);
  return {tokenizer, Tokens(source, 0, static_cast<std::int64_t>(found.characters))};
}

Tokens open_tokens(std::shared_ptr<const ByteStore> owner, std::span<const std::uint16_t> tokens,
                   const std::string& name, std::int64_t vocab_size, const std::string& origin) {
  return Tokens(std::make_shared<U16Source>(std::move(owner), tokens, name, vocab_size, origin), 0,
                static_cast<std::int64_t>(tokens.size()));
}

}  // namespace muonlab

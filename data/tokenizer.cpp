#include "data/tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "data/utf8.h"

namespace muonlab {
namespace {

using nlohmann::json;

void check_id(std::int32_t id, std::int64_t vocab_size) {
  if (id < 0 || id >= vocab_size)
    throw FormatError(
        fmt::format("token {} is outside the vocabulary of {} tokens", id, vocab_size));
}

}  // namespace

CharTokenizer::CharTokenizer(std::vector<char32_t> vocabulary)
    : vocabulary_(std::move(vocabulary)) {
  if (vocabulary_.empty()) throw FormatError("a vocabulary of characters must not be empty");
  ascii_.fill(-1);
  for (std::size_t i = 0; i < vocabulary_.size(); ++i) {
    const auto id = static_cast<std::int32_t>(i);
    by_value_.emplace_back(vocabulary_[i], id);
    if (vocabulary_[i] < 128) ascii_[vocabulary_[i]] = id;
  }
  std::sort(by_value_.begin(), by_value_.end());
  for (std::size_t i = 1; i < by_value_.size(); ++i)
    if (by_value_[i].first == by_value_[i - 1].first)
      throw FormatError(fmt::format("the vocabulary holds the character U+{:04X} twice",
                                    static_cast<std::uint32_t>(by_value_[i].first)));
}

std::int32_t CharTokenizer::id_of(char32_t value) const {
  if (value < 128) return ascii_[value];
  const auto at =
      std::lower_bound(by_value_.begin(), by_value_.end(), std::pair(value, std::int32_t{0}));
  return at != by_value_.end() && at->first == value ? at->second : -1;
}

std::vector<std::int32_t> CharTokenizer::encode(std::string_view text) const {
  std::vector<std::int32_t> ids;
  ids.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const Utf8Char c = decode_utf8(text, at);
    if (c.length == 0)
      throw FormatError(
          fmt::format("the text is not UTF-8: byte 0x{:02x} at position {} starts no character",
                      static_cast<unsigned char>(text[at]), at));
    const std::int32_t id = id_of(c.value);
    if (id < 0)
      throw ConfigError(
          fmt::format("the character '{}' (U+{:04X}) at position {} is not among the {} characters "
                      "of the vocabulary",
                      text.substr(at, c.length), static_cast<std::uint32_t>(c.value), ids.size(),
                      vocabulary_.size()));
    ids.push_back(id);
    at += c.length;
  }
  return ids;
}

std::string CharTokenizer::decode(std::span<const std::int32_t> ids) const {
  std::string text;
  for (const std::int32_t id : ids) {
    check_id(id, vocab_size());
    append_utf8(text, vocabulary_[static_cast<std::size_t>(id)]);
  }
  return text;
}

std::string CharTokenizer::to_json() const {
  std::string characters;
  for (const char32_t c : vocabulary_) append_utf8(characters, c);
  return json{{"kind", "characters"}, {"vocabulary", characters}}.dump();
}

std::vector<std::int32_t> ByteTokenizer::encode(std::string_view text) const {
  std::vector<std::int32_t> ids(text.size());
  std::transform(text.begin(), text.end(), ids.begin(),
                 [](char c) { return static_cast<unsigned char>(c); });
  return ids;
}

std::string ByteTokenizer::decode(std::span<const std::int32_t> ids) const {
  std::string text;
  for (const std::int32_t id : ids) {
    check_id(id, vocab_size());
    text.push_back(static_cast<char>(id));
  }
  return text;
}

std::string ByteTokenizer::to_json() const { return json{{"kind", "bytes"}}.dump(); }

std::unique_ptr<Tokenizer> Tokenizer::from_json(std::string_view text) {
  // The parser refuses what is not UTF-8, lone surrogates included.
  const json root = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (root.is_discarded()) throw FormatError("the tokenizer file is not valid JSON");
  const auto text_of = [&](const char* key) -> std::string {
    if (!root.is_object() || !root.contains(key) || !root[key].is_string())
      throw FormatError(fmt::format("the tokenizer file has no text entry \"{}\"", key));
    return root[key].get<std::string>();
  };
  const auto require_entries = [&](std::size_t count) {
    if (root.size() != count)
      throw FormatError("the tokenizer file has entries that its kind does not know");
  };
  const std::string kind = text_of("kind");
  if (kind == "bytes") {
    require_entries(1);
    return std::make_unique<ByteTokenizer>();
  }
  if (kind == "characters") {
    const std::string characters = text_of("vocabulary");
    require_entries(2);
    std::vector<char32_t> vocabulary;
    for (std::size_t at = 0; at < characters.size();) {
      const Utf8Char c = decode_utf8(characters, at);
      vocabulary.push_back(c.value);
      at += c.length;
    }
    return std::make_unique<CharTokenizer>(std::move(vocabulary));
  }
  throw FormatError(fmt::format(
      "the tokenizer file is of the unknown kind \"{}\"; expected characters or bytes", kind));
}

}  // namespace muonlab

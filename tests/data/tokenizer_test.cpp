#include "data/tokenizer.h"

#include "core/error.h"
#include "data/utf8.h"
#include "tests/support/catch.h"

using namespace muonlab;

namespace {

std::string message_of(const std::string& json) {
  try {
    Tokenizer::from_json(json);
  } catch (const FormatError& error) {
    return error.what();
  }
  return "accepted";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("utf8: every code point survives, and nothing else is accepted") {
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    std::string text;
    append_utf8(text, c);
    const Utf8Char back = decode_utf8(text, 0);
    if (back.value != c || back.length != text.size()) FAIL("code point " << static_cast<int>(c));
    // A character cut short is not one.
    if (text.size() > 1 && decode_utf8(text.substr(0, text.size() - 1), 0).length != 0)
      FAIL("cut code point " << static_cast<int>(c));
  }
  for (const char* bad : {"\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xE0\x9F\xBF", "\xED\xA0\x80",
                          "\xED\xBF\xBF", "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80",
                          "\xF5\x80\x80\x80", "\xFF", "\xC3(", "\xE2\x82(", "\xF0\x9F\x92("}) {
    INFO(bad);
    CHECK(decode_utf8(bad, 0).length == 0);
  }
}

TEST_CASE("tokenizer: characters") {
  const CharTokenizer t({U'\n', U'a', U'b', U'é', U'漢', U'🙂'});
  CHECK(t.vocab_size() == 6);
  const std::string text = "ba\n漢é🙂a";
  const std::vector<std::int32_t> ids = {2, 1, 0, 4, 3, 5, 1};
  CHECK(t.encode(text) == ids);
  CHECK(t.decode(ids) == text);
  CHECK(t.id_of(U'z') == -1);
  CHECK(t.id_of(U'ü') == -1);
  CHECK(t.id_of(0x10FFFF) == -1);

  SECTION("a character that the vocabulary lacks is named with its position") {
    try {
      t.encode("aéü");
      FAIL("no error");
    } catch (const ConfigError& error) {
      CHECK(contains(error.what(), "'ü' (U+00FC) at position 2"));
    }
  }
  SECTION("text that is not UTF-8") { CHECK_THROWS_AS(t.encode("ab\xFF"), FormatError); }
  SECTION("ids outside the vocabulary") {
    for (const std::int32_t id : {-1, 6, 1 << 30})
      CHECK_THROWS_AS(t.decode(std::vector<std::int32_t>{id}), FormatError);
  }
  SECTION("an empty or ambiguous vocabulary") {
    CHECK_THROWS_AS(CharTokenizer({}), FormatError);
    CHECK_THROWS_AS(CharTokenizer({U'a', U'b', U'a'}), FormatError);
  }
}

TEST_CASE("tokenizer: bytes take any text") {
  const ByteTokenizer t;
  std::string text;
  for (int i = 0; i < 256; ++i) text.push_back(static_cast<char>(i));
  const auto ids = t.encode(text);
  CHECK(ids.front() == 0);
  CHECK(ids.back() == 255);
  CHECK(t.decode(ids) == text);
  CHECK_THROWS_AS(t.decode(std::vector<std::int32_t>{256}), FormatError);
}

TEST_CASE("tokenizer: JSON brings back the same tokenizer") {
  // Characters that JSON escapes, and an order that is not sorted.
  const CharTokenizer characters({U'b', U'"', U'\\', U'\n', U'\0', U'é', U'🙂', U'a'});
  const auto back = Tokenizer::from_json(characters.to_json());
  CHECK(back->to_json() == characters.to_json());
  CHECK(back->encode(std::string("\0é\"", 4)) == std::vector<std::int32_t>{4, 5, 1});
  const auto bytes = Tokenizer::from_json(ByteTokenizer().to_json());
  CHECK(bytes->vocab_size() == 256);
  CHECK(bytes->encode("\xFF") == std::vector<std::int32_t>{255});
}

TEST_CASE("tokenizer: JSON from strangers") {
  CHECK(contains(message_of(""), "not valid JSON"));
  CHECK(contains(message_of("{\"kind\": \"bytes\""), "not valid JSON"));
  CHECK(contains(message_of("[\"kind\"]"), "no text entry \"kind\""));
  CHECK(contains(message_of("null"), "no text entry \"kind\""));
  CHECK(contains(message_of("{}"), "no text entry \"kind\""));
  CHECK(contains(message_of("{\"kind\": 3}"), "no text entry \"kind\""));
  CHECK(contains(message_of("{\"kind\": \"words\"}"), "unknown kind \"words\""));
  CHECK(contains(message_of("{\"kind\": \"bytes\", \"vocabulary\": \"a\"}"), "does not know"));
  CHECK(contains(message_of("{\"kind\": \"characters\"}"), "no text entry \"vocabulary\""));
  CHECK(
      contains(message_of("{\"kind\": \"characters\", \"vocabulary\": [\"a\"]}"), "no text entry"));
  CHECK(contains(message_of("{\"kind\": \"characters\", \"vocabulary\": \"\"}"), "empty"));
  CHECK(
      contains(message_of("{\"kind\": \"characters\", \"vocabulary\": \"aba\"}"), "U+0061 twice"));
  CHECK(contains(message_of("{\"kind\": \"characters\", \"vocabulary\": \"\xFF\"}"),
                 "not valid JSON"));
  CHECK(
      contains(message_of(R"({"kind": "characters", "vocabulary": "\ud800"})"), "not valid JSON"));
  CHECK(contains(message_of(std::string(100000, '[')), "not valid JSON"));
}

#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace muonlab {

/// One code point and the bytes it takes; length 0 where the bytes are not UTF-8.
struct Utf8Char {
  char32_t value = 0;
  std::size_t length = 0;
};

/// The code point that starts at text[at], at < text.size(). Refuses overlong forms, surrogates and
/// values above U+10FFFF, as the Unicode Standard (table 3-7) asks.
Utf8Char decode_utf8(std::string_view text, std::size_t at);

/// Appends a code point in UTF-8.
void append_utf8(std::string& text, char32_t value);

}  // namespace muonlab

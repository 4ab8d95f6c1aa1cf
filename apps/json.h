#pragma once

#include <concepts>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace muonlab {

/// A JSON object under construction; keys keep the order in which they were added. Numbers that are
/// not finite become null, bytes that are not UTF-8 the replacement character.
class JsonObject {
 public:
  JsonObject& add(std::string_view key, std::string_view value);
  JsonObject& add(std::string_view key, const char* value) {
    return add(key, std::string_view(value));
  }
  JsonObject& add(std::string_view key, double value);
  JsonObject& add(std::string_view key, std::integral auto value) {
    return add_raw(key, std::to_string(value));
  }
  JsonObject& add(std::string_view key, bool value) {
    return add_raw(key, value ? "true" : "false");
  }
  JsonObject& add(std::string_view key, const JsonObject& value) {
    return add_raw(key, value.str());
  }
  JsonObject& add(std::string_view key, std::span<const JsonObject> values);
  JsonObject& add(std::string_view key, std::span<const std::string> values);
  /// Adds the key only if there is a value.
  template <class T>
  JsonObject& add(std::string_view key, const std::optional<T>& value) {
    return value ? add(key, *value) : *this;
  }

  /// The object on one line.
  std::string str() const { return '{' + members_ + '}'; }

 private:
  JsonObject& add_raw(std::string_view key, std::string_view json);
  std::string members_;
};

}  // namespace muonlab

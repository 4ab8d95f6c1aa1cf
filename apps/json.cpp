#include "apps/json.h"

#include <cmath>
#include <nlohmann/json.hpp>

namespace muonlab {
namespace {

std::string json_string(std::string_view text) {
  return nlohmann::json(std::string(text))
      .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

JsonObject& JsonObject::add_raw(std::string_view key, std::string_view json) {
  if (!members_.empty()) members_ += ", ";
  members_ += json_string(key);
  members_ += ": ";
  members_ += json;
  return *this;
}

JsonObject& JsonObject::add(std::string_view key, std::string_view value) {
  return add_raw(key, json_string(value));
}

JsonObject& JsonObject::add(std::string_view key, double value) {
  return add_raw(key, std::isfinite(value) ? nlohmann::json(value).dump() : "null");
}

JsonObject& JsonObject::add(std::string_view key, std::span<const JsonObject> values) {
  std::string list;
  for (const JsonObject& value : values) list += (list.empty() ? "" : ", ") + value.str();
  return add_raw(key, '[' + list + ']');
}

JsonObject& JsonObject::add(std::string_view key, std::span<const std::string> values) {
  std::string list;
  for (const std::string& value : values) list += (list.empty() ? "" : ", ") + json_string(value);
  return add_raw(key, '[' + list + ']');
}

}  // namespace muonlab

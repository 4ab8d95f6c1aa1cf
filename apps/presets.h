#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace muonlab {

/// Option values under one name. Data only: a preset does nothing that flags could not.
struct Preset {
  std::string name;
  std::string about;
  std::int64_t vocab_size;  ///< that `bench` uses, where there are no data to decide it
  std::vector<std::pair<std::string, std::string>> values;
};

std::span<const Preset> presets();
/// Throws: ConfigError naming the nearest preset.
const Preset& find_preset(const std::string& name);

/// Learning rates at which an optimizer is worth trying, under every preset; a preset, a file or a
/// flag that names them wins.
std::vector<std::pair<std::string, std::string>> optimizer_defaults(const std::string& optimizer);

}  // namespace muonlab

#pragma once

#include <stdlib.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace muonlab::test {

/// An empty folder that disappears with the object.
class TempFolder {
 public:
  TempFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "muonlab-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~TempFolder() { std::filesystem::remove_all(path_); }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  std::string operator/(const std::string& name) const { return (path_ / name).string(); }
  std::string str() const { return path_.string(); }

  /// Writes a file and returns its path.
  std::string write(const std::string& name, const std::string& bytes) const {
    std::filesystem::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name, std::ios::binary) << bytes;
    return *this / name;
  }

 private:
  std::filesystem::path path_;
};

/// Little-endian 16-bit tokens as bytes.
inline std::string u16_bytes(const std::vector<std::uint16_t>& tokens) {
  return {reinterpret_cast<const char*>(tokens.data()), 2 * tokens.size()};
}

/// Sets an environment variable until the end of the scope; null unsets it.
class ScopedEnv {
 public:
  ScopedEnv(const char* name, const char* value) : name_(name) {
    if (const char* old = std::getenv(name)) {
      had_ = true;
      old_ = old;
    }
    set(value);
  }
  ~ScopedEnv() { set(had_ ? old_.c_str() : nullptr); }
  ScopedEnv(const ScopedEnv&) = delete;
  ScopedEnv& operator=(const ScopedEnv&) = delete;

 private:
  void set(const char* value) {
    if (value)
      ::setenv(name_, value, 1);
    else
      ::unsetenv(name_);
  }
  const char* name_;
  bool had_ = false;
  std::string old_;
};

/// A copy of tiny Shakespeare on this machine: $MUONLAB_SHAKESPEARE, the cache folder, or a folder
/// shared/data beside the repository. Empty if there is none: tests that need it are skipped.
inline std::string find_shakespeare() {
  const char* given = std::getenv("MUONLAB_SHAKESPEARE");
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  const std::vector<std::string> places = {
      given ? given : "", cache ? std::string(cache) + "/muonlab/tinyshakespeare.txt" : "",
      home ? std::string(home) + "/.cache/muonlab/tinyshakespeare.txt" : "",
      MUONLAB_SOURCE_DIR "/../shared/data/tinyshakespeare.txt"};
  for (const std::string& place : places)
    if (!place.empty() && std::filesystem::exists(place)) return place;
  return "";
}

}  // namespace muonlab::test

#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace muonlab {

/// A file's bytes, mapped read-only: pages come and go as they are read, nothing is copied.
class MappedFile {
 public:
  /// Throws: IoError if the file cannot be opened or is not a regular file, FormatError if it is
  /// empty.
  explicit MappedFile(std::string path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::string& path() const { return path_; }
  std::string_view bytes() const { return {static_cast<const char*>(data_), size_}; }

 private:
  std::string path_;
  void* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace muonlab

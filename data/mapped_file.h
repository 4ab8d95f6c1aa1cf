#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "data/source.h"

namespace muonlab {

/// A file's bytes, mapped read-only: pages come and go as they are read, nothing is copied. To read
/// behind the end of a file that became shorter would end the process (SIGBUS), so its length is
/// looked at before each read. That leaves the moment in between: a file that is cut right then
/// still ends the process.
class MappedFile final : public ByteStore {
 public:
  /// Throws: IoError if the file cannot be opened or is not a regular file, FormatError if it is
  /// empty.
  explicit MappedFile(std::string path);
  ~MappedFile() override;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::string& path() const { return path_; }
  std::string_view bytes() const { return {static_cast<const char*>(data_), size_}; }
  void require_whole() const override;

 private:
  void map();

  std::string path_;
  int fd_ = -1;
  void* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace muonlab

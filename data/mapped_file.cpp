#include "data/mapped_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "core/error.h"

namespace muonlab {
namespace {

[[noreturn]] void throw_errno(const char* verb, const std::string& path) {
  throw IoError(
      fmt::format("cannot {} '{}': {}", verb, path, std::generic_category().message(errno)));
}

}  // namespace

MappedFile::MappedFile(std::string path) : path_(std::move(path)) {
  // O_NONBLOCK: opening a named pipe must end in an error, not wait for a writer.
  fd_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd_ < 0) throw_errno("open", path_);
  try {
    map();
  } catch (...) {
    ::close(fd_);
    throw;
  }
}

void MappedFile::map() {
  struct stat info {};
  if (::fstat(fd_, &info) != 0) throw_errno("examine", path_);
  if (!S_ISREG(info.st_mode))
    throw IoError(fmt::format(
        "'{}' is not a regular file: what comes from a pipe or a device must be saved to a "
        "file first",
        path_));
  if (info.st_size == 0)
    throw FormatError(fmt::format("'{}' is empty: it should hold text or tokens", path_));
  size_ = static_cast<std::size_t>(info.st_size);
  data_ = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, fd_, 0);
  if (data_ == MAP_FAILED) throw_errno("map", path_);
}

MappedFile::~MappedFile() {
  ::munmap(data_, size_);
  ::close(fd_);
}

void MappedFile::require_whole() const {
  struct stat info {};
  if (::fstat(fd_, &info) != 0) throw_errno("examine", path_);
  if (static_cast<std::size_t>(info.st_size) < size_) throw_changed(path_);
}

}  // namespace muonlab

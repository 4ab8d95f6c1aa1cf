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

struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

}  // namespace

MappedFile::MappedFile(std::string path) : path_(std::move(path)) {
  // O_NONBLOCK: opening a named pipe must end in an error, not wait for a writer.
  const Descriptor file{::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.fd < 0) throw_errno("open", path_);
  struct stat info {};
  if (::fstat(file.fd, &info) != 0) throw_errno("examine", path_);
  if (!S_ISREG(info.st_mode))
    throw IoError(fmt::format(
        "'{}' is not a regular file: what comes from a pipe or a device must be saved to a "
        "file first",
        path_));
  if (info.st_size == 0)
    throw FormatError(fmt::format("'{}' is empty: it should hold text or tokens", path_));
  size_ = static_cast<std::size_t>(info.st_size);
  data_ = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, file.fd, 0);
  if (data_ == MAP_FAILED) throw_errno("map", path_);
}

MappedFile::~MappedFile() { ::munmap(data_, size_); }

}  // namespace muonlab

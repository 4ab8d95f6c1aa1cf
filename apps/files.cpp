#include "apps/files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "core/error.h"

namespace muonlab {

void throw_errno(std::string_view action, const std::filesystem::path& path) {
  throw IoError(fmt::format("cannot {} {}: {}", action, path.string(), std::strerror(errno)));
}

FileDescriptor& FileDescriptor::operator=(FileDescriptor&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

void FileDescriptor::reset() noexcept {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

void write_all(const FileDescriptor& file, std::string_view text,
               const std::filesystem::path& path) {
  while (!text.empty()) {
    const ssize_t n = ::write(file.get(), text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw_errno("write", path);
    text.remove_prefix(static_cast<std::size_t>(n));
  }
}

std::string read_text(const std::filesystem::path& path, std::size_t most) {
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat status {};
  if (file.get() < 0 || ::fstat(file.get(), &status) != 0) throw_errno("open", path);
  if (!S_ISREG(status.st_mode))
    throw IoError(fmt::format(
        "cannot read {}: it is no regular file; save what comes from a pipe or a device to one",
        path.string()));
  std::string text;
  char part[1 << 16];
  for (;;) {
    const ssize_t n = ::read(file.get(), part, sizeof part);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw_errno("read", path);
    if (n == 0) return text;
    text.append(part, static_cast<std::size_t>(n));
    if (text.size() > most)
      throw IoError(
          fmt::format("cannot read {}: it has more than {} MiB, so it is not the file "
                      "that was expected here",
                      path.string(), most >> 20));
  }
}

void write_text(const std::filesystem::path& path, std::string_view text) {
  std::filesystem::path temporary = path;
  temporary += ".tmp";
  try {
    const FileDescriptor file(
        ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
    if (file.get() < 0) throw_errno("write", path);
    write_all(file, text, path);
    if (::fsync(file.get()) != 0) throw_errno("write", path);
    if (::rename(temporary.c_str(), path.c_str()) != 0) throw_errno("write", path);
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
}

}  // namespace muonlab

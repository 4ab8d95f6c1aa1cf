#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

namespace muonlab {

/// More than any configuration or vocabulary has, in bytes: what is longer is the wrong file.
inline constexpr std::size_t kMostText = std::size_t{16} << 20;

/// The contents of a regular file: a device may have no end, and a pipe would be waited for.
/// Throws: IoError, also for more than `most` bytes.
std::string read_text(const std::filesystem::path& path, std::size_t most = kMostText);

/// Writes a file so that a reader finds either the old contents or all of the new ones, also after
/// a loss of power. Throws: IoError.
void write_text(const std::filesystem::path& path, std::string_view text);

/// An IoError for what just failed, with the reason from errno: "cannot <action> <path>: No space
/// left on device".
[[noreturn]] void throw_errno(std::string_view action, const std::filesystem::path& path);

/// A file descriptor that closes itself.
class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor() { reset(); }
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  FileDescriptor& operator=(FileDescriptor&& other) noexcept;
  int get() const { return fd_; }
  void reset() noexcept;

 private:
  int fd_ = -1;
};

/// Writes all of `text` to a descriptor. Throws: IoError naming `path`.
void write_all(const FileDescriptor& file, std::string_view text,
               const std::filesystem::path& path);

}  // namespace muonlab

#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace muonlab {

struct NamedTensor {
  std::string name;
  Tensor tensor;
};

using Metadata = std::map<std::string, std::string>;

/// Names of tensors that an error lists, of each kind: all of any model that is meant, but not the
/// millions that a header made to annoy can hold.
inline constexpr std::size_t kMostListed = 5000;

/// Writes tensors (any device; f32, f64 or i32) in the safetensors layout: an 8-byte little-endian
/// header length, a JSON header, the raw little-endian elements. Equal contents give equal files,
/// whatever the order of `tensors`. Text is UTF-8; other bytes are replaced by U+FFFD. Two keys of
/// the metadata are the file's own: "muonlab_format", the version of what is said here, and
/// "sha256", the SHA-256 of the whole file with these 64 digits read as '0'. Written to `path`.tmp,
/// fsynced and renamed, so that a reader finds either the old file or the whole new one; nothing
/// the size of the model is held in memory beside the tensors. One writer per path at a time.
/// Throws: IoError (naming the path and the reason; the temporary file is removed); FormatError for
/// a name that is given twice; DtypeError.
void write_tensors(const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                   Metadata metadata);

/// A tensor file, open for reading. Files come from strangers: opening checks every length, offset,
/// type and overlap before anything is read. A file without "muonlab_format", from another program,
/// is read as well. Elements are read straight into their tensors: a mapping would count towards
/// the resident memory, and a file that shrinks under it would end the process.
class TensorFile {
 public:
  struct Entry {
    std::string name;
    DType dtype;
    Shape shape;
  };

  /// Throws: IoError if it cannot be opened, FormatError if it is not a valid file.
  explicit TensorFile(const std::filesystem::path& path);
  ~TensorFile();
  TensorFile(TensorFile&&) noexcept;
  TensorFile& operator=(TensorFile&&) noexcept;

  const std::vector<Entry>& entries() const;  ///< sorted by name
  const Metadata& metadata() const;
  bool contains(const std::string& name) const;
  /// Reads the whole file once. Throws: FormatError if it does not have the checksum that its
  /// metadata names, which finds every changed bit, or if the metadata names none.
  void verify() const;
  /// Copies one tensor into dst, of equal dtype and shape. Throws: FormatError, IoError.
  void read(const std::string& name, Tensor& dst) const;
  /// Strict load: copies every tensor of `into` from the file. `ignore_prefix`: entries of the file
  /// whose names start with it may be left over (empty: none may). Nothing is written unless all
  /// fit. Throws: FormatError that lists everything missing, extra or mis-shaped at once, up to
  /// kMostListed of each.
  void read_all(std::span<NamedTensor> into, const std::string& ignore_prefix = "") const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Parses and checks the bytes of a tensor file without reading tensors: the surface that is
/// fuzzed. Throws: FormatError.
void check_tensor_header(std::span<const unsigned char> bytes);

}  // namespace muonlab

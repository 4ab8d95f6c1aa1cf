#include "core/checkpoint.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string_view>
#include <system_error>
#include <utility>

#include "core/error.h"
#include "core/hash.h"

// File = header length (u64) | header (JSON, padded with spaces to 8 bytes) | elements, all
// little-endian, the elements without gaps.
// Source: https://huggingface.co/docs/safetensors, section "Format".
//
// The checksum is that of the whole file with its own 64 digits as '0'. It is known only after the
// last element, so it stands at a fixed place at the front, where it is put in at the end.
namespace muonlab {
namespace {

static_assert(std::endian::native == std::endian::little, "elements are written as they lie");

constexpr std::size_t kLengthBytes = 8;
constexpr std::string_view kHeaderStart = R"({"__metadata__":{"sha256":")";
constexpr std::size_t kDigestAt = kLengthBytes + kHeaderStart.size();
constexpr std::size_t kDigestDigits = 64;
constexpr std::uint64_t kMaxHeader = 100'000'000;       // bytes; the limit of the public library
constexpr std::size_t kPiece = std::size_t{1} << 20;    // bytes hashed while they are in the cache
constexpr std::size_t kWindow = std::size_t{32} << 20;  // bytes on their way to the disk
constexpr const char* kMetadataName = "__metadata__";
constexpr const char* kVersionKey = "muonlab_format";
constexpr const char* kVersion = "1";

const char* type_in_file(DType t) {
  switch (t) {
    case DType::f32:
      return "F32";
    case DType::f64:
      return "F64";
    case DType::i32:
      return "I32";
    case DType::bf16:
      break;
  }
  throw DtypeError("[checkpoint] tensors are written as f32, f64 or i32; got bf16");
}

std::string quote(const std::string& text) {
  // Replaces what is not UTF-8: a checkpoint must not fail over a file name in its metadata.
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

/// A name from a file for an error message: short, and without what would move a terminal's cursor.
std::string shown(const std::string& name) {
  constexpr std::size_t kLongest = 80;
  return nlohmann::json(name.substr(0, kLongest))
             .dump(-1, ' ', true, nlohmann::json::error_handler_t::replace) +
         (name.size() > kLongest ? "..." : "");
}

std::string describe(DType dtype, const Shape& shape) {
  return fmt::format("{} {}", name_of(dtype), shape.str());
}

// ---- Header ------------------------------------------------------------------------------------

struct Located {
  TensorFile::Entry entry;
  std::uint64_t begin = 0, end = 0;  // bytes from the start of the elements
};

struct Header {
  Metadata metadata;
  std::vector<Located> tensors;  // sorted by name
};

[[noreturn]] void reject(const std::string& file, const std::string& why) {
  throw FormatError(fmt::format("{} is not a valid tensor file: {}", file, why));
}

/// Builds a Header from the events of a JSON parser and refuses everything that the format does not
/// have at the moment it appears, so that no input costs more memory than its own size.
class HeaderBuilder final : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit HeaderBuilder(const std::string& file) : file_(file) {}

  Header take() { return std::move(header_); }

  bool key(string_t& key) override {
    if (place_ == Place::metadata) {
      key_ = key;
    } else if (place_ == Place::top) {
      tensor_ = {};
      tensor_.entry.name = key;
      fields_ = {};
    } else {
      const auto field = std::find(std::begin(kFields), std::end(kFields), key);
      if (field == std::end(kFields)) fail(fmt::format("has the unknown field {}", shown(key)));
      field_ = static_cast<Field>(field - std::begin(kFields));
      if (std::exchange(fields_[field_], true)) fail(fmt::format("has {} twice", key));
    }
    return true;
  }

  bool string(string_t& text) override {
    if (place_ == Place::metadata) {
      if (!header_.metadata.emplace(key_, text).second)
        reject(file_, fmt::format("the metadata has {} twice", shown(key_)));
    } else if (place_ == Place::tensor && field_ == kType) {
      const auto type = std::find_if(std::begin(kTypes), std::end(kTypes),
                                     [&](DType t) { return text == type_in_file(t); });
      if (type == std::end(kTypes))
        fail(fmt::format("has elements of type {}; F32, F64 and I32 can be read", shown(text)));
      tensor_.entry.dtype = *type;
    } else {
      unexpected("a string");
    }
    return true;
  }

  bool number_unsigned(number_unsigned_t n) override {
    if (place_ != Place::numbers) unexpected("a number");
    if (count_ == numbers_.size()) fail("has more than 4 sizes or offsets");
    numbers_[count_++] = n;
    return true;
  }

  bool start_object(std::size_t) override {
    if (place_ == Place::start) {
      place_ = Place::top;
    } else if (place_ == Place::top && tensor_.entry.name == kMetadataName) {
      if (std::exchange(has_metadata_, true)) reject(file_, "it has metadata twice");
      place_ = Place::metadata;
    } else if (place_ == Place::top) {
      place_ = Place::tensor;
    } else {
      unexpected("an object");
    }
    return true;
  }

  bool end_object() override {
    if (place_ == Place::tensor) {
      for (Field f : {kType, kShape, kOffsets})
        if (!fields_[f]) fail(fmt::format("has no {}", kFields[f]));
      header_.tensors.push_back(std::move(tensor_));
    }
    place_ = place_ == Place::top ? Place::end : Place::top;
    return true;
  }

  bool start_array(std::size_t) override {
    if (place_ != Place::tensor || field_ == kType) unexpected("a list");
    place_ = Place::numbers;
    count_ = 0;
    return true;
  }

  bool end_array() override {
    place_ = Place::tensor;
    if (field_ == kOffsets) {
      if (count_ != 2) fail(fmt::format("must have two data_offsets; it has {}", count_));
      tensor_.begin = numbers_[0];
      tensor_.end = numbers_[1];
      return true;
    }
    std::array<std::int64_t, 4> sizes{};
    for (std::size_t i = 0; i < count_; ++i) {
      if (numbers_[i] > INT64_MAX) fail("has a size beyond 2^63");
      sizes[i] = static_cast<std::int64_t>(numbers_[i]);
    }
    try {
      tensor_.entry.shape = Shape(std::span<const std::int64_t>(sizes.data(), count_));
    } catch (const ShapeError& e) {
      fail(fmt::format("has an impossible shape: {}", e.what()));
    }
    return true;
  }

  bool null() override { unexpected("null"); }
  bool boolean(bool) override { unexpected("a boolean"); }
  bool number_integer(number_integer_t) override { unexpected("a negative number"); }
  bool number_float(number_float_t, const string_t&) override { unexpected("a fraction"); }
  bool binary(binary_t&) override { unexpected("binary data"); }
  bool parse_error(std::size_t at, const std::string&, const nlohmann::json::exception&) override {
    reject(file_, fmt::format("its header is not JSON (byte {})", kLengthBytes + at));
  }

 private:
  enum class Place { start, top, metadata, tensor, numbers, end };
  enum Field { kType, kShape, kOffsets };
  static constexpr const char* kFields[] = {"dtype", "shape", "data_offsets"};
  static constexpr DType kTypes[] = {DType::f32, DType::f64, DType::i32};

  [[noreturn]] void fail(const std::string& what) const {
    reject(file_, fmt::format("tensor {} {}", shown(tensor_.entry.name), what));
  }
  [[noreturn]] void unexpected(const char* what) const {
    reject(file_, fmt::format("its header has {} where the format has none", what));
  }

  const std::string& file_;
  Header header_;
  Place place_ = Place::start;
  bool has_metadata_ = false;
  std::string key_;  // of the metadata
  Located tensor_;   // being built
  Field field_ = kType;
  std::array<bool, 3> fields_{};
  std::array<std::uint64_t, 4> numbers_{};
  std::size_t count_ = 0;
};

/// Checks that the tensors cover the elements without gap and overlap.
void check_layout(const std::string& file, const std::vector<Located>& tensors,
                  std::uint64_t data_bytes) {
  std::vector<const Located*> by_place;
  for (const Located& t : tensors) {
    // Shape::kMaxNumel keeps this from overflowing.
    const std::uint64_t bytes =
        static_cast<std::uint64_t>(t.entry.shape.numel()) * size_of(t.entry.dtype);
    if (t.end < t.begin || t.end - t.begin != bytes)
      reject(file, fmt::format("tensor {} has data_offsets {} to {}; {} needs {} bytes",
                               shown(t.entry.name), t.begin, t.end,
                               describe(t.entry.dtype, t.entry.shape), bytes));
    by_place.push_back(&t);
  }
  std::sort(by_place.begin(), by_place.end(), [](const Located* a, const Located* b) {
    return std::pair(a->begin, a->end) < std::pair(b->begin, b->end);
  });
  std::uint64_t end = 0;
  for (const Located* t : by_place) {
    if (t->begin != end)
      reject(file,
             fmt::format("tensor {} starts at byte {} of the elements; expected {}, where the "
                         "one before it ends",
                         shown(t->entry.name), t->begin, end));
    end = t->end;
  }
  if (end != data_bytes)
    reject(file,
           fmt::format("it has {} bytes of elements where its header names {}; {}", data_bytes, end,
                       data_bytes < end ? "it was cut short" : "something was appended"));
}

std::uint64_t header_length(const std::string& file, const unsigned char* start,
                            std::uint64_t file_bytes) {
  std::uint64_t length = 0;
  std::memcpy(&length, start, kLengthBytes);
  if (length > file_bytes - kLengthBytes)
    reject(file, fmt::format("its header has {} bytes and the whole file {}", length, file_bytes));
  if (length > kMaxHeader)
    reject(file, fmt::format("its header has {} bytes, more than {}", length, kMaxHeader));
  return length;
}

void require_length_field(const std::string& file, std::uint64_t file_bytes) {
  if (file_bytes < kLengthBytes) reject(file, fmt::format("it has only {} bytes", file_bytes));
}

Header parse_header(const std::string& file, std::string_view text, std::uint64_t data_bytes) {
  // The parser would skip a byte order mark, and take a zero byte for the end of its input.
  if (text.empty() || text.front() != '{' || text.find('\0') != std::string_view::npos)
    reject(file, "its header is not a JSON object");
  HeaderBuilder builder(file);
  nlohmann::json::sax_parse(text, &builder);
  Header header = builder.take();

  if (const auto version = header.metadata.find(kVersionKey);
      version != header.metadata.end() && version->second != kVersion)
    throw FormatError(fmt::format(
        "{} has the format of another version of the program ({}); this one reads format {}", file,
        shown(version->second), kVersion));

  std::sort(header.tensors.begin(), header.tensors.end(),
            [](const Located& a, const Located& b) { return a.entry.name < b.entry.name; });
  const auto twice = std::adjacent_find(
      header.tensors.begin(), header.tensors.end(),
      [](const Located& a, const Located& b) { return a.entry.name == b.entry.name; });
  if (twice != header.tensors.end())
    reject(file, fmt::format("tensor {} is there twice", shown(twice->entry.name)));
  check_layout(file, header.tensors, data_bytes);
  return header;
}

/// The header of a file with these tensors in this order, with zeros for the checksum.
std::string make_header(std::span<const NamedTensor> tensors, const Metadata& metadata) {
  std::string text(kHeaderStart);
  text.append(kDigestDigits, '0');
  text += fmt::format(R"(","{}":"{}")", kVersionKey, kVersion);
  for (const auto& [key, value] : metadata)
    if (key != "sha256" && key != kVersionKey)
      text += fmt::format(",{}:{}", quote(key), quote(value));
  text += '}';
  std::uint64_t begin = 0;
  for (const NamedTensor& t : tensors) {
    std::string sizes;
    for (int i = 0; i < t.tensor.shape().rank(); ++i)
      sizes += fmt::format("{}{}", i ? "," : "", t.tensor.shape()[i]);
    const std::uint64_t end = begin + t.tensor.bytes();
    text += fmt::format(R"(,{}:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
                        quote(t.name), type_in_file(t.tensor.dtype()), sizes, begin, end);
    begin = end;
  }
  text += '}';
  text.resize((text.size() + 7) / 8 * 8, ' ');
  return text;
}

// ---- Files -------------------------------------------------------------------------------------

std::string reason(int error) { return std::generic_category().message(error); }

/// A new file that takes the place of `path` when it is complete, or leaves no trace.
class Replacement {
 public:
  explicit Replacement(const std::filesystem::path& path) : path_(path), temporary_(path) {
    // A fixed name: a process that is killed while it writes leaves at most one such file, and the
    // next write reuses it.
    temporary_ += ".tmp";
    fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (fd_ < 0)
      throw IoError(fmt::format("cannot create {}: {}", temporary_.string(), reason(errno)));
  }
  ~Replacement() {
    if (fd_ >= 0) ::close(fd_);
    if (!complete_) ::unlink(temporary_.c_str());
  }
  Replacement(const Replacement&) = delete;
  Replacement& operator=(const Replacement&) = delete;

  void append(const void* data, std::size_t bytes) {
    write_at(written_, data, bytes);
    written_ += bytes;
    if (written_ - started_ >= kWindow) write_behind();
  }
  void overwrite(std::size_t offset, std::string_view text) {
    write_at(offset, text.data(), text.size());
  }
  void commit() {
    // Without the first fsync a crash could leave the new name with old or no contents; without
    // the second, the old name.
    if (::fsync(fd_) < 0) fail();
    if (::close(std::exchange(fd_, -1)) < 0) fail();
    if (::rename(temporary_.c_str(), path_.c_str()) < 0) fail();
    complete_ = true;
    const std::filesystem::path folder = path_.has_parent_path() ? path_.parent_path() : ".";
    const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;  // a folder that may be written but not read
    ::fsync(fd);
    ::close(fd);
  }

 private:
  void write_at(std::size_t offset, const void* data, std::size_t bytes) {
    const char* at = static_cast<const char*>(data);
    while (bytes > 0) {
      const ssize_t n = ::pwrite(fd_, at, bytes, static_cast<off_t>(offset));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) fail();
      at += n;
      offset += static_cast<std::size_t>(n);
      bytes -= static_cast<std::size_t>(n);
    }
  }

  /// Keeps the disk busy while the next window is hashed, and gives the memory of the window before
  /// back: writing 1.5 GB took a third of the time, and the system's cache keeps what it held.
  /// Advice to the system: what fails here shows at the latest in the fsync.
  void write_behind() {
    const auto finished = static_cast<off_t>(finished_), started = static_cast<off_t>(started_),
               written = static_cast<off_t>(written_);
    ::sync_file_range(fd_, started, written - started, SYNC_FILE_RANGE_WRITE);
    if (started > finished) {  // a length of zero would mean the rest of the file
      ::sync_file_range(
          fd_, finished, started - finished,
          SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
      ::posix_fadvise(fd_, finished, started - finished, POSIX_FADV_DONTNEED);
    }
    finished_ = started_;
    started_ = written_;
  }

  [[noreturn]] void fail() const {
    throw IoError(fmt::format("cannot write {}: {}; a file that was there before is unchanged",
                              path_.string(), reason(errno)));
  }

  std::filesystem::path path_, temporary_;
  int fd_ = -1;
  std::size_t written_ = 0;   // end of the file
  std::size_t started_ = 0;   // up to here the system was told to write
  std::size_t finished_ = 0;  // up to here it has
  bool complete_ = false;
};

}  // namespace

void write_tensors(const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                   Metadata metadata) {
  // Wide elements first keeps every tensor aligned; the order of names makes equal contents equal
  // files.
  std::vector<NamedTensor> sorted(tensors.begin(), tensors.end());
  std::sort(sorted.begin(), sorted.end(), [](const NamedTensor& a, const NamedTensor& b) {
    const std::size_t size_a = size_of(a.tensor.dtype()), size_b = size_of(b.tensor.dtype());
    return size_a != size_b ? size_a > size_b : a.name < b.name;
  });
  const std::string header = make_header(sorted, metadata);
  // What cannot be read back must not be written.
  std::uint64_t data_bytes = 0;
  for (const NamedTensor& t : sorted) {
    if (!t.tensor.defined())
      throw FormatError(fmt::format("{}: tensor {} has no value", path.string(), shown(t.name)));
    data_bytes += t.tensor.bytes();
  }
  parse_header(path.string(), header, data_bytes);

  Replacement file(path);
  Sha256 hash;
  const auto append = [&](const void* data, std::size_t bytes) {
    const char* at = static_cast<const char*>(data);
    for (std::size_t done = 0; done < bytes; done += kPiece) {
      const std::size_t piece = std::min(kPiece, bytes - done);
      hash.update(at + done, piece);
      file.append(at + done, piece);
    }
  };
  const std::uint64_t length = header.size();
  append(&length, sizeof length);
  append(header.data(), header.size());
  for (const NamedTensor& t : sorted) {
    const Tensor host = t.tensor.to(Device{});
    append(host.raw(), host.bytes());
  }
  file.overwrite(kDigestAt, hash.hex());
  file.commit();
}

struct TensorFile::Impl {
  std::string path;
  int fd = -1;
  std::uint64_t data_at = 0, file_bytes = 0;
  Metadata metadata;
  std::vector<Entry> entries;         // sorted by name
  std::vector<std::uint64_t> begins;  // of the entries, from the start of the file

  Impl() = default;
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() {
    if (fd >= 0) ::close(fd);
  }

  void read_at(std::uint64_t offset, void* to, std::size_t bytes) const {
    char* at = static_cast<char*>(to);
    while (bytes > 0) {
      const ssize_t n = ::pread(fd, at, bytes, static_cast<off_t>(offset));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) throw IoError(fmt::format("cannot read {}: {}", path, reason(errno)));
      if (n == 0) throw FormatError(fmt::format("{} became shorter while it was read", path));
      at += n;
      offset += static_cast<std::uint64_t>(n);
      bytes -= static_cast<std::size_t>(n);
    }
  }

  /// Position in `entries`, or their number if there is none of this name.
  std::size_t find(const std::string& name) const {
    const auto at =
        std::lower_bound(entries.begin(), entries.end(), name,
                         [](const Entry& e, const std::string& n) { return e.name < n; });
    const bool found = at != entries.end() && at->name == name;
    return static_cast<std::size_t>((found ? at : entries.end()) - entries.begin());
  }

  void read_entry(std::size_t i, Tensor& dst) const {
    Tensor host = dst.device() == Device{} ? dst : Tensor::empty(dst.shape(), dst.dtype());
    read_at(begins[i], host.raw(), host.bytes());
    if (!host.shares(dst)) dst.copy_from(host);
  }
};

TensorFile::TensorFile(const std::filesystem::path& path) : impl_(std::make_unique<Impl>()) {
  Impl& f = *impl_;
  f.path = path.string();
  // Not blocking: a pipe is refused below instead of waited for.
  f.fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  struct stat status {};
  if (f.fd < 0 || ::fstat(f.fd, &status) < 0)
    throw IoError(fmt::format("cannot open {}: {}", f.path, reason(errno)));
  if (!S_ISREG(status.st_mode)) throw IoError(fmt::format("{} is not a file", f.path));
  f.file_bytes = static_cast<std::uint64_t>(status.st_size);

  require_length_field(f.path, f.file_bytes);
  std::array<unsigned char, kLengthBytes> start{};
  f.read_at(0, start.data(), start.size());
  std::string text(header_length(f.path, start.data(), f.file_bytes), '\0');
  f.read_at(kLengthBytes, text.data(), text.size());
  f.data_at = kLengthBytes + text.size();
  Header header = parse_header(f.path, text, f.file_bytes - f.data_at);

  f.metadata = std::move(header.metadata);
  for (Located& t : header.tensors) {
    f.entries.push_back(std::move(t.entry));
    f.begins.push_back(f.data_at + t.begin);
  }
}

TensorFile::~TensorFile() = default;
TensorFile::TensorFile(TensorFile&&) noexcept = default;
TensorFile& TensorFile::operator=(TensorFile&&) noexcept = default;

const std::vector<TensorFile::Entry>& TensorFile::entries() const { return impl_->entries; }
const Metadata& TensorFile::metadata() const { return impl_->metadata; }
bool TensorFile::contains(const std::string& name) const {
  return impl_->find(name) < impl_->entries.size();
}

void TensorFile::verify() const {
  const Impl& f = *impl_;
  const auto named = f.metadata.find("sha256");
  if (named == f.metadata.end())
    throw FormatError(fmt::format("{} has no checksum in its metadata", f.path));
  std::vector<char> piece(static_cast<std::size_t>(std::min<std::uint64_t>(kPiece, f.file_bytes)));
  Sha256 hash;
  for (std::uint64_t at = 0; at < f.file_bytes; at += piece.size()) {
    piece.resize(static_cast<std::size_t>(std::min<std::uint64_t>(kPiece, f.file_bytes - at)));
    f.read_at(at, piece.data(), piece.size());
    if (at == 0 && piece.size() >= kDigestAt + kDigestDigits)
      std::fill_n(piece.begin() + kDigestAt, kDigestDigits, '0');
    hash.update(piece.data(), piece.size());
  }
  if (const std::string digest = hash.hex(); digest != named->second)
    throw FormatError(
        fmt::format("{} is damaged: its contents have the checksum {}, its metadata "
                    "names {}",
                    f.path, digest, shown(named->second)));
}

void TensorFile::read(const std::string& name, Tensor& dst) const {
  const Impl& f = *impl_;
  const std::size_t i = f.find(name);
  if (i == f.entries.size())
    throw FormatError(fmt::format("{} has no tensor {}", f.path, shown(name)));
  const Entry& e = f.entries[i];
  if (e.dtype != dst.dtype() || e.shape != dst.shape() || !dst.defined())
    throw FormatError(fmt::format("{}: tensor {} is {}; expected {}", f.path, shown(name),
                                  describe(e.dtype, e.shape), describe(dst.dtype(), dst.shape())));
  f.read_entry(i, dst);
}

void TensorFile::read_all(std::span<NamedTensor> into, const std::string& ignore_prefix) const {
  const Impl& f = *impl_;
  std::vector<std::string> missing, extra, other;
  std::vector<bool> wanted(f.entries.size());
  for (const NamedTensor& t : into) {
    const std::size_t i = f.find(t.name);
    if (i == f.entries.size()) {
      missing.push_back(shown(t.name));
      continue;
    }
    wanted[i] = true;
    const Entry& e = f.entries[i];
    if (e.dtype != t.tensor.dtype() || e.shape != t.tensor.shape() || !t.tensor.defined())
      other.push_back(fmt::format("{} is {}, expected {}", shown(t.name),
                                  describe(e.dtype, e.shape),
                                  describe(t.tensor.dtype(), t.tensor.shape())));
  }
  for (std::size_t i = 0; i < wanted.size(); ++i)
    if (!wanted[i] && (ignore_prefix.empty() || !f.entries[i].name.starts_with(ignore_prefix)))
      extra.push_back(shown(f.entries[i].name));

  std::string problems;
  const auto list = [&](const char* title, const std::vector<std::string>& names) {
    if (names.empty()) return;
    problems += fmt::format("\n  {} ({}): ", title, names.size());
    for (std::size_t i = 0; i < std::min(kMostListed, names.size()); ++i)
      problems += fmt::format("{}{}", i ? ", " : "", names[i]);
    if (names.size() > kMostListed)
      problems += fmt::format(", and {} more", names.size() - kMostListed);
  };
  list("missing", missing);
  list("not expected", extra);
  list("of another shape or type", other);
  if (!problems.empty())
    throw FormatError(
        fmt::format("{} does not hold the tensors of this configuration:{}", f.path, problems));

  for (NamedTensor& t : into) f.read_entry(f.find(t.name), t.tensor);
}

void check_tensor_header(std::span<const unsigned char> bytes) {
  const std::string file = "the input";
  require_length_field(file, bytes.size());
  const std::uint64_t length = header_length(file, bytes.data(), bytes.size());
  const auto text = bytes.subspan(kLengthBytes, length);
  parse_header(file, {reinterpret_cast<const char*>(text.data()), text.size()},
               bytes.size() - kLengthBytes - length);
}

}  // namespace muonlab

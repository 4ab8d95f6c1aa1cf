#include "core/checkpoint.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <csignal>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#include <span>

#include "core/error.h"
#include "core/hash.h"
#include "tests/support/catch.h"

using namespace muonlab;
namespace fs = std::filesystem;

namespace {

using Values = std::vector<double>;

/// A folder of its own, removed at the end.
struct Folder {
  fs::path path;
  Folder() {
    std::string name = (fs::temp_directory_path() / "muonlab_checkpoint_XXXXXX").string();
    if (!mkdtemp(name.data())) throw IoError("cannot make a temporary folder");
    path = name;
  }
  ~Folder() {
    std::error_code ignored;
    fs::permissions(path, fs::perms::owner_all, ignored);
    fs::remove_all(path, ignored);
  }
  std::size_t files() const {
    return static_cast<std::size_t>(
        std::distance(fs::directory_iterator(path), fs::directory_iterator()));
  }
};

std::string slurp(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
void spill(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

/// A file with this header and as many zero bytes of elements.
std::string raw_file(const std::string& header, std::size_t data_bytes) {
  std::string bytes(8, '\0');
  const std::uint64_t length = header.size();
  std::memcpy(bytes.data(), &length, 8);
  return bytes + header + std::string(data_bytes, '\0');
}

std::vector<NamedTensor> small_model() {
  return {{"w", Tensor::from<float>({2, 3}, std::vector<float>{1, -2, 3, 0.5f, 1e-30f, -0.f})},
          {"ids", Tensor::from<std::int32_t>({3}, std::vector<std::int32_t>{7, -1, INT32_MAX})},
          {"exact", Tensor::from<double>({2}, std::vector<double>{0.1, -1e300})},
          {"scalar", Tensor::from<float>({}, std::vector<float>{42})},
          {"none", Tensor::empty({0, 4})},
          {"odd \"name\" \n \xc3\xa9", Tensor::from<float>({1}, std::vector<float>{5})}};
}

/// Tensors of the same names, types and shapes with other values.
std::vector<NamedTensor> blank(const std::vector<NamedTensor>& like) {
  std::vector<NamedTensor> out;
  for (const NamedTensor& t : like) {
    out.push_back({t.name, Tensor::empty(t.tensor.shape(), t.tensor.dtype())});
    out.back().tensor.fill(-77);
  }
  return out;
}

bool same(const std::vector<NamedTensor>& a, const std::vector<NamedTensor>& b) {
  bool equal = a.size() == b.size();
  for (std::size_t i = 0; equal && i < a.size(); ++i)
    equal = a[i].tensor.bytes() == b[i].tensor.bytes() &&
            std::memcmp(a[i].tensor.raw(), b[i].tensor.raw(), a[i].tensor.bytes()) == 0;
  return equal;
}

template <class E, class F>
std::string message(F f) {
  try {
    f();
  } catch (const E& e) {
    return e.what();
  }
  return "no error";
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("checkpoint: activations are not written") {
  const Folder folder;
  const fs::path path = folder.path / "a.safetensors";
  const std::vector<NamedTensor> model{{"x", Tensor::empty({2}, DType::bf16)}};
  CHECK(has(message<DtypeError>([&] { write_tensors(path, model, {}); }), "got bf16"));
  CHECK(!fs::exists(path));
}

TEST_CASE("checkpoint: what is written is read back bit by bit") {
  const Folder folder;
  const fs::path path = folder.path / "a.safetensors";
  std::vector<NamedTensor> model = small_model();
  // Bits that a conversion would change.
  model[0].tensor.host<float>()[0] = std::bit_cast<float>(0x7fc12345u);
  model[0].tensor.host<float>()[1] = std::numeric_limits<float>::denorm_min();
  write_tensors(path, model, {{"step", "12"}, {"config", "{\"a\": \"\\\"\"}\n"}});

  const TensorFile file(path);
  file.verify();
  CHECK(file.metadata().at("step") == "12");
  CHECK(file.metadata().at("config") == "{\"a\": \"\\\"\"}\n");
  CHECK(file.entries().size() == model.size());
  CHECK(std::is_sorted(file.entries().begin(), file.entries().end(),
                       [](const auto& a, const auto& b) { return a.name < b.name; }));
  for (const NamedTensor& t : model) CHECK(file.contains(t.name));
  CHECK_FALSE(file.contains("W"));

  std::vector<NamedTensor> loaded = blank(model);
  file.read_all(loaded);
  CHECK(same(model, loaded));
  Tensor one = Tensor::empty({2, 3});
  file.read("w", one);
  CHECK(std::memcmp(one.raw(), model[0].tensor.raw(), one.bytes()) == 0);
  CHECK(folder.files() == 1);
}

TEST_CASE("checkpoint: the layout is that of the public format") {
  const Folder folder;
  const fs::path path = folder.path / "a.safetensors";
  write_tensors(
      path,
      std::vector<NamedTensor>{{"b", Tensor::from<float>({1, 2}, std::vector<float>{1, 2})},
                               {"a", Tensor::from<double>({1}, std::vector<double>{3})}},
      {});
  const std::string bytes = slurp(path);
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  CHECK(length % 8 == 0);
  REQUIRE(bytes.size() == 8 + length + 16);
  std::string header = bytes.substr(8, length);
  header.erase(header.find_last_not_of(' ') + 1);
  const std::string digest = TensorFile(path).metadata().at("sha256");
  CHECK(header == R"({"__metadata__":{"sha256":")" + digest + R"(","muonlab_format":"1"},)" +
                      R"("a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]},)" +
                      R"("b":{"dtype":"F32","shape":[1,2],"data_offsets":[8,16]}})");
  const double a = 3;
  const float b[] = {1, 2};
  CHECK(std::memcmp(bytes.data() + 8 + length, &a, 8) == 0);
  CHECK(std::memcmp(bytes.data() + 16 + length, b, 8) == 0);

  // The checksum is of the whole file with its own digits as zeros.
  std::string zeroed = bytes;
  zeroed.replace(zeroed.find(digest), 64, 64, '0');
  Sha256 hash;
  hash.update(zeroed.data(), zeroed.size());
  CHECK(hash.hex() == digest);
}

TEST_CASE("checkpoint: equal contents give equal files") {
  const Folder folder;
  std::vector<NamedTensor> model = small_model();
  write_tensors(folder.path / "a", model, {{"k", "v"}});
  std::reverse(model.begin(), model.end());
  // What a file says of itself may be passed on to the next one.
  write_tensors(folder.path / "b", model, TensorFile(folder.path / "a").metadata());
  CHECK(slurp(folder.path / "a") == slurp(folder.path / "b"));
}

TEST_CASE("checkpoint: an empty one") {
  const Folder folder;
  write_tensors(folder.path / "a", {}, {});
  const TensorFile file(folder.path / "a");
  file.verify();
  CHECK(file.entries().empty());
}

TEST_CASE("checkpoint: larger than every buffer") {
  const Folder folder;
  const fs::path path = folder.path / "a";
  // 96 MiB pass through three windows of the writer and do not end on one.
  Tensor big = Tensor::empty({(std::int64_t{24} << 20) + 3});
  std::uint32_t value = 1;
  for (float& x : big.host<float>())
    x = std::bit_cast<float>((value = value * 747796405u + 1) >> 2);
  write_tensors(path, std::vector<NamedTensor>{{"big", big}}, {});
  const TensorFile file(path);
  file.verify();
  Tensor back = Tensor::empty(big.shape());
  file.read("big", back);
  CHECK(std::memcmp(big.raw(), back.raw(), big.bytes()) == 0);
}

TEST_CASE("checkpoint: names given twice or reserved are refused before anything is written") {
  const Folder folder;
  const Tensor t = Tensor::zeros({1});
  const fs::path path = folder.path / "a";
  CHECK_THROWS_AS(write_tensors(path, std::vector<NamedTensor>{{"x", t}, {"x", t}}, {}),
                  FormatError);
  CHECK_THROWS_AS(write_tensors(path, std::vector<NamedTensor>{{"__metadata__", t}}, {}),
                  FormatError);
  CHECK_THROWS_AS(write_tensors(path, std::vector<NamedTensor>{{"x", Tensor()}}, {}), FormatError);
  CHECK(folder.files() == 0);
}

TEST_CASE("checkpoint: every truncation is noticed when the file is opened") {
  const Folder folder;
  write_tensors(folder.path / "a", small_model(), {{"step", "3"}});
  const std::string bytes = slurp(folder.path / "a");
  const fs::path cut = folder.path / "cut";
  for (std::size_t n = 0; n < bytes.size(); ++n) {
    spill(cut, bytes.substr(0, n));
    if (message<FormatError>([&] { TensorFile{cut}; }) == "no error") FAIL("cut to " << n);
  }
  spill(cut, bytes + '\0');
  CHECK_THROWS_AS(TensorFile(cut), FormatError);
  spill(cut, bytes);
  CHECK_NOTHROW(TensorFile(cut).verify());
}

TEST_CASE("checkpoint: every flipped bit is noticed") {
  const Folder folder;
  write_tensors(folder.path / "a", small_model(), {{"step", "3"}});
  std::string bytes = slurp(folder.path / "a");
  const fs::path flipped = folder.path / "flipped";
  for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    const auto mask = static_cast<char>(1 << bit % 8);
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ mask);
    spill(flipped, bytes);
    const std::string error = message<FormatError>([&] { TensorFile(flipped).verify(); });
    if (error == "no error") FAIL("bit " << bit);
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ mask);
  }
}

TEST_CASE("checkpoint: damage is told in words") {
  const Folder folder;
  const fs::path path = folder.path / "a";
  write_tensors(path, small_model(), {});
  const std::string bytes = slurp(path);

  spill(path, bytes.substr(0, bytes.size() - 5));
  CHECK(has(message<FormatError>([&] { TensorFile{path}; }), "it was cut short"));
  spill(path, "");
  CHECK(has(message<FormatError>([&] { TensorFile{path}; }), "it has only 0 bytes"));
  spill(path, "this is some text, not a checkpoint at all");
  CHECK(has(message<FormatError>([&] { TensorFile{path}; }), "is not a valid tensor file"));
  std::string flipped = bytes;
  flipped.back() = static_cast<char>(flipped.back() ^ 1);
  spill(path, flipped);
  CHECK(has(message<FormatError>([&] { TensorFile(path).verify(); }), "is damaged"));
  spill(path, raw_file(R"({"__metadata__":{"muonlab_format":"2"}})", 0));
  CHECK(has(message<FormatError>([&] { TensorFile{path}; }), "another version of the program"));
  // A name must not reach the terminal as it is.
  spill(path, raw_file("{\"\\u001b[2J\xc2\x9b\":{\"dtype\":\"BF16\"}}", 0));
  const std::string error = message<FormatError>([&] { TensorFile{path}; });
  CHECK(has(error, "BF16"));
  CHECK(std::all_of(error.begin(), error.end(), [](char c) { return c >= 32 && c < 127; }));
}

TEST_CASE("checkpoint: files of other programs are read, but have no checksum") {
  const Folder folder;
  const fs::path path = folder.path / "a";
  // Elements need not be aligned: the format does not ask for it.
  spill(path, raw_file(R"({ "x":{"shape":[1],"data_offsets":[0,4],"dtype":"F32"},)"
                       R"("y":{"dtype":"F64","shape":[2],"data_offsets":[4,20]}} )",
                       20));
  const TensorFile file(path);
  Tensor y = Tensor::empty({2}, DType::f64);
  file.read("y", y);
  CHECK(y.to_vector() == Values{0, 0});
  CHECK(has(message<FormatError>([&] { file.verify(); }), "has no checksum"));
}

TEST_CASE("checkpoint: one tensor that does not fit") {
  const Folder folder;
  write_tensors(folder.path / "a", small_model(), {});
  const TensorFile file(folder.path / "a");
  Tensor wide = Tensor::zeros({3, 2}), exact = Tensor::zeros({2, 3}, DType::f64), none;
  CHECK_THROWS_AS(file.read("w", wide), FormatError);
  CHECK_THROWS_AS(file.read("w", exact), FormatError);
  CHECK_THROWS_AS(file.read("scalar", none), FormatError);
  CHECK_THROWS_AS(file.read("v", wide), FormatError);
  CHECK(wide.to_vector() == Values(6, 0));
}

TEST_CASE("checkpoint: a strict load lists everything at once and writes nothing") {
  const Folder folder;
  const fs::path path = folder.path / "a";
  std::vector<NamedTensor> model = small_model();
  write_tensors(path, model, {});
  std::vector<NamedTensor> other = blank(model);
  other[0].tensor = Tensor::zeros({3, 3});
  other[1].tensor = Tensor::zeros({3});
  other[2].name = "absent";
  other.erase(other.begin() + 3);
  const Values before = other[4].tensor.to_vector();
  const std::string error = message<FormatError>([&] { TensorFile(path).read_all(other); });
  CHECK(has(error, path.string()));
  CHECK(has(error, "missing (1): \"absent\""));
  CHECK(has(error, "not expected (2): \"exact\", \"scalar\""));
  CHECK(has(error,
            "of another shape or type (2): \"w\" is f32 (2, 3), expected f32 (3, 3), "
            "\"ids\" is i32 (3), expected f32 (3)"));
  CHECK(other[4].tensor.to_vector() == before);

  // Extra entries are an error for each prefix but their own.
  std::vector<NamedTensor> part{{"w", Tensor::zeros({2, 3})}};
  write_tensors(path,
                std::vector<NamedTensor>{{"w", model[0].tensor}, {"opt/w/m", model[0].tensor}}, {});
  CHECK_THROWS_AS(TensorFile(path).read_all(part), FormatError);
  CHECK_THROWS_AS(TensorFile(path).read_all(part, "op/"), FormatError);
  TensorFile(path).read_all(part, "opt/");
  CHECK(part[0].tensor.to_vector() == model[0].tensor.to_vector());
}

TEST_CASE("checkpoint: long lists are cut politely") {
  const Folder folder;
  write_tensors(folder.path / "a", {}, {});
  std::vector<NamedTensor> many;
  const auto error_for = [&](std::size_t names) {
    while (many.size() < names)
      many.push_back({fmt::format("name{}", many.size()), Tensor::zeros({1})});
    return message<FormatError>([&] { TensorFile(folder.path / "a").read_all(many); });
  };
  const std::string whole = error_for(kMostListed), cut = error_for(kMostListed + 30);
  CHECK(kMostListed >= 2000);  // a model of 100 blocks, with the state of its optimizer
  for (const NamedTensor& t : std::span(many).first(kMostListed)) {
    REQUIRE(has(whole, fmt::format("\"{}\"", t.name)));
    REQUIRE(has(cut, fmt::format("\"{}\"", t.name)));
  }
  CHECK(!has(whole, "more"));
  CHECK(has(cut, fmt::format("missing ({}): ", kMostListed + 30)));
  CHECK(has(cut, ", and 30 more"));
}

TEST_CASE("checkpoint: what cannot be opened") {
  const Folder folder;
  CHECK(has(message<IoError>([&] { TensorFile(folder.path / "none"); }), "No such file"));
  CHECK(has(message<IoError>([&] { TensorFile{folder.path}; }), "is not a file"));
  const fs::path pipe = folder.path / "pipe";
  REQUIRE(mkfifo(pipe.c_str(), 0600) == 0);
  CHECK(has(message<IoError>([&] { TensorFile{pipe}; }), "is not a file"));
}

TEST_CASE("checkpoint: what cannot be written is an error that names path and reason") {
  const Folder folder;
  const fs::path lost = folder.path / "no" / "such" / "a";
  const std::string error = message<IoError>([&] { write_tensors(lost, small_model(), {}); });
  CHECK(has(error, lost.string()));
  CHECK(has(error, "No such file or directory"));
  // The path is a folder: everything is written, and the last step fails.
  fs::create_directory(folder.path / "folder");
  CHECK_THROWS_AS(write_tensors(folder.path / "folder", small_model(), {}), IoError);
  CHECK(folder.files() == 1);

  if (geteuid() == 0) {
    WARN("as root every folder may be written: permission is not tested");
    return;
  }
  fs::permissions(folder.path, fs::perms::owner_read | fs::perms::owner_exec);
  CHECK(has(message<IoError>([&] { write_tensors(folder.path / "b", small_model(), {}); }),
            "Permission denied"));
}

TEST_CASE("checkpoint: a write that fails half-way leaves the old file and no other") {
  const Folder folder;
  const fs::path path = folder.path / "a";
  write_tensors(path, small_model(), {});
  const std::string before = slurp(path);

  // A limit on the size of files stands for a full disk: write() fails in the same place, with
  // another reason.
  rlimit old{};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &old) == 0);
  const rlimit small{100'000, old.rlim_max};
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
  const std::string error = message<IoError>([&] {
    write_tensors(path, std::vector<NamedTensor>{{"x", Tensor::zeros({50'000})}}, {});
  });
  REQUIRE(setrlimit(RLIMIT_FSIZE, &old) == 0);
  std::signal(SIGXFSZ, handler);

  CHECK(has(error, path.string()));
  CHECK(has(error, "File too large"));
  CHECK(has(error, "a file that was there before is unchanged"));
  CHECK(slurp(path) == before);
  CHECK(folder.files() == 1);

  // What a killed process left behind is no obstacle.
  spill(path.string() + ".tmp", std::string(1000, 'x'));
  write_tensors(path, small_model(), {});
  CHECK(slurp(path) == before);
  CHECK(folder.files() == 1);
}

TEST_CASE("checkpoint: a file that shrinks while it is open is an error") {
  const Folder folder;
  const fs::path path = folder.path / "a";
  const std::vector<NamedTensor> model{{"x", Tensor::zeros({1000})}};
  write_tensors(path, model, {});
  const TensorFile file(path);
  fs::resize_file(path, 2000);
  Tensor x = Tensor::zeros({1000});
  CHECK_THROWS_AS(file.read("x", x), FormatError);
  CHECK_THROWS_AS(file.verify(), FormatError);
}

TEST_CASE("checkpoint: the corpus of the fuzzer") {
  std::size_t valid = 0, bad = 0;
  for (const auto& entry : fs::directory_iterator(MUONLAB_SOURCE_DIR "/tests/fuzz/corpus")) {
    const std::string name = entry.path().filename(), bytes = slurp(entry.path());
    INFO(name);
    const auto check = [&bytes] {
      check_tensor_header({reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size()});
    };
    if (name.starts_with("valid")) {
      ++valid;
      CHECK_NOTHROW(check());
      CHECK_NOTHROW(TensorFile(entry.path()));
    } else {
      ++bad;
      CHECK_THROWS_AS(check(), FormatError);
      CHECK_THROWS_AS(TensorFile(entry.path()), FormatError);
    }
  }
  CHECK(valid >= 3);
  CHECK(bad >= 10);
}

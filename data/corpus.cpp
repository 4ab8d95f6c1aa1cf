#include "data/corpus.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/hash.h"
#include "data/mapped_file.h"
#include "data/nanogpt_meta.h"
#include "data/source.h"
#include "data/story.h"

namespace muonlab {
namespace {

namespace fs = std::filesystem;
static_assert(std::endian::native == std::endian::little, "token files are little-endian");

constexpr std::size_t kShakespeareBytes = 1115394;
constexpr const char* kShakespeareSha256 =
    "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed";

// llm.c's token files: 256 32-bit words (magic, version, number of tokens, zeros), then the tokens.
constexpr std::size_t kHeaderBytes = 1024;
constexpr std::int32_t kMagic = 20240520;
constexpr std::int32_t kVersion = 1;

std::int32_t word(std::string_view bytes, std::size_t index) {
  std::int32_t value = 0;
  if (bytes.size() >= 4 * (index + 1)) std::memcpy(&value, bytes.data() + 4 * index, 4);
  return value;
}

// False also where a folder on the way may not be read: opening the file then says so.
bool is_missing(const fs::path& path) {
  std::error_code ignored;
  return fs::status(path, ignored).type() == fs::file_type::not_found;
}

std::string sha256(std::string_view bytes) {
  Sha256 hash;
  hash.update(bytes.data(), bytes.size());
  return hash.hex();
}

// nanoGPT: n = int(0.9 * len(data)).
void split(Corpus& corpus, const Tokens& all) {
  const auto n = static_cast<std::int64_t>(0.9 * static_cast<double>(all.size()));
  corpus.train = all.slice(0, n);
  corpus.val = all.slice(n, all.size());
}

Corpus text_corpus(std::string name, const std::shared_ptr<const MappedFile>& file, bool bytes) {
  const TokenizedText text = open_text(file, file->bytes(), file->path(), bytes);
  Corpus corpus;
  corpus.name = std::move(name);
  corpus.tokenizer = text.tokenizer;
  corpus.vocab_size = text.tokenizer->vocab_size();
  corpus.sha256 = sha256(file->bytes());
  split(corpus, text.tokens);
  return corpus;
}

/// Text of the program's own.
struct Written final : ByteStore {
  std::string text;
};

Corpus builtin_corpus(const DataConfig& config) {
  const Storyteller teller(english_grammar());
  const auto store = std::make_shared<Written>();
  std::string* const text = &store->text;
  const auto size = static_cast<std::size_t>(config.builtin_size);
  text->reserve(size + size / 100);
  std::uint64_t passage = 0;
  const auto grow_to = [&](std::size_t target) {
    double nats = 0;
    while (text->size() < target) nats += teller.tell(config.builtin_seed, passage++, *text);
    return nats;
  };
  grow_to(size - size / 10);
  const auto split_at = static_cast<std::int64_t>(text->size());
  const double held_out_nats = grow_to(std::max(size, text->size() + 1));

  const TokenizedText tokenized = open_text(store, *text, "builtin", config.bytes);
  Corpus corpus;
  corpus.name = "builtin";
  corpus.tokenizer = tokenized.tokenizer;
  corpus.vocab_size = tokenized.tokenizer->vocab_size();
  corpus.train = tokenized.tokens.slice(0, split_at);
  corpus.val = tokenized.tokens.slice(split_at, tokenized.tokens.size());
  corpus.sha256 = sha256(*text);
  corpus.val_floor = held_out_nats / static_cast<double>(corpus.val.size());
  const Storyteller::Mean mean = teller.mean();
  corpus.source_entropy = mean.nats / mean.characters;
  return corpus;
}

Corpus shakespeare_corpus(bool bytes) {
  const std::string path = shakespeare_path();
  if (is_missing(path))
    throw IoError(fmt::format(
        "tiny Shakespeare is not at '{}': run data/get_shakespeare.sh to download it, or give a "
        "text file by --data PATH",
        path));
  const auto file = std::make_shared<const MappedFile>(path);
  Corpus corpus = text_corpus("shakespeare", file, bytes);
  if (file->bytes().size() != kShakespeareBytes || corpus.sha256 != kShakespeareSha256)
    throw FormatError(
        fmt::format("'{}' is not tiny Shakespeare ({} bytes, sha256 {}): delete it and run "
                    "data/get_shakespeare.sh again",
                    path, file->bytes().size(), corpus.sha256));
  return corpus;
}

std::span<const std::uint16_t> as_tokens(const MappedFile& file, std::size_t header) {
  const std::string_view bytes = file.bytes();
  if (bytes.size() % 2 != 0)
    throw FormatError(fmt::format("'{}' has {} bytes, an odd number: it should hold 16-bit tokens",
                                  file.path(), bytes.size()));
  return {reinterpret_cast<const std::uint16_t*>(bytes.data() + header),
          (bytes.size() - header) / 2};
}

// Reads every token once: adds them to the hash and returns the largest.
std::uint16_t scan(std::span<const std::uint16_t> tokens, Sha256& hash) {
  constexpr std::size_t kPiece = 1 << 16;  // tokens, so that both uses find them in the cache
  std::uint16_t largest = 0;
  for (std::size_t at = 0; at < tokens.size(); at += kPiece) {
    const auto piece = tokens.subspan(at, std::min(kPiece, tokens.size() - at));
    hash.update(piece.data(), piece.size_bytes());
    for (const std::uint16_t token : piece) largest = std::max(largest, token);
  }
  return largest;
}

/// Decides the vocabulary of tokens without text; returns where it comes from, for errors.
std::string set_vocabulary(Corpus& corpus, const DataConfig& config, std::int64_t largest) {
  if (config.vocab_size > 0) {
    corpus.vocab_size = config.vocab_size;
    return " that --vocab_size names";
  }
  corpus.vocab_size = (largest / 64 + 1) * 64;
  corpus.largest_token = largest;
  return "";
}

/// Throws: FormatError naming the first token outside the vocabulary.
void read_through(const Tokens& tokens) {
  std::vector<std::int32_t> piece;
  for (std::int64_t at = 0; at < tokens.size(); at += std::ssize(piece)) {
    piece.resize(static_cast<std::size_t>(std::min<std::int64_t>(1 << 16, tokens.size() - at)));
    tokens.read(at, piece);
  }
}

Corpus token_folder(const DataConfig& config) {
  const std::string& path = config.data;
  const auto map = [&](const char* name) {
    const fs::path file = fs::path(path) / name;
    if (is_missing(file))
      throw IoError(fmt::format(
          "the folder '{}' has no {}: --data takes a text file, a token file, or a folder with "
          "nanoGPT's train.bin and val.bin",
          path, name));
    return std::make_shared<const MappedFile>(file.string());
  };
  const auto train = map("train.bin"), val = map("val.bin");
  const auto train_tokens = as_tokens(*train, 0), val_tokens = as_tokens(*val, 0);
  Sha256 hash;
  const std::int64_t largest = std::max(scan(train_tokens, hash), scan(val_tokens, hash));

  Corpus corpus;
  corpus.name = path;
  corpus.sha256 = hash.hex();
  const std::string meta = (fs::path(path) / "meta.pkl").string();
  std::string origin = " in meta.pkl";
  if (is_missing(meta)) {
    origin = set_vocabulary(corpus, config, largest);
  } else {
    corpus.tokenizer = read_nanogpt_meta(MappedFile(meta).bytes(), meta);
    corpus.vocab_size = corpus.tokenizer->vocab_size();
  }
  corpus.train = open_tokens(train, train_tokens, train->path(), corpus.vocab_size, origin);
  corpus.val = open_tokens(val, val_tokens, val->path(), corpus.vocab_size, origin);
  if (largest >= corpus.vocab_size) {
    read_through(corpus.train);
    read_through(corpus.val);
  }
  return corpus;
}

bool is_token_file(const MappedFile& file) {
  return fs::path(file.path()).extension() == ".bin" || word(file.bytes(), 0) == kMagic;
}

Corpus token_file(const std::shared_ptr<const MappedFile>& file, const DataConfig& config) {
  const std::string_view bytes = file->bytes();
  if (word(bytes, 0) != kMagic)
    throw FormatError(
        fmt::format("'{}' is not a token file of llm.c: it does not start with the number {}; for "
                    "nanoGPT's train.bin and val.bin give the folder that holds them",
                    file->path(), kMagic));
  if (bytes.size() < kHeaderBytes)
    throw FormatError(
        fmt::format("'{}' ends within its header of {} bytes", file->path(), kHeaderBytes));
  if (word(bytes, 1) != kVersion)
    throw FormatError(fmt::format(
        "'{}' is a token file of version {}; only version {} (16-bit tokens) can be read",
        file->path(), word(bytes, 1), kVersion));
  const std::int64_t count = word(bytes, 2);
  const auto held = static_cast<std::int64_t>(bytes.size() - kHeaderBytes);
  if (held != 2 * count)
    throw FormatError(
        fmt::format("'{}' is {}: its header names {} tokens of 2 bytes, and {} bytes follow",
                    file->path(), held < 2 * count ? "truncated" : "damaged", count, held));
  const auto tokens = as_tokens(*file, kHeaderBytes);
  Sha256 hash;
  hash.update(bytes.data(), kHeaderBytes);
  Corpus corpus;
  corpus.name = file->path();
  const std::int64_t largest = scan(tokens, hash);
  const std::string origin = set_vocabulary(corpus, config, largest);
  corpus.sha256 = hash.hex();
  const Tokens all = open_tokens(file, tokens, file->path(), corpus.vocab_size, origin);
  if (largest >= corpus.vocab_size) read_through(all);
  split(corpus, all);
  return corpus;
}

}  // namespace

OptionTable options(DataConfig& config) {
  return OptionBuilder()
      .text("data", config.data,
            "corpus: builtin, shakespeare, a text file, a token file of llm.c, or a folder with "
            "nanoGPT's train.bin")
      .boolean("bytes", config.bytes,
               "read text byte by byte (256 tokens) instead of by characters")
      .integer("builtin_size", config.builtin_size, {.min = 10000, .max = 1e9},
               "characters of the corpus builtin")
      .integer("builtin_seed", config.builtin_seed, "seed of the corpus builtin")
      .integer("vocab_size", config.vocab_size, {.min = 0, .max = 65536},
               "tokens of the vocabulary, for token files without meta.pkl; 0: up to the largest "
               "one in them, rounded up to a multiple of 64")
      .table();
}

Tokens::Tokens(std::shared_ptr<const Source> source, std::int64_t begin, std::int64_t end)
    : source_(std::move(source)), begin_(begin), end_(end) {}

void Tokens::require(std::int64_t begin, std::int64_t end) const {
  if (begin < 0 || begin > end || end > size())
    throw ShapeError(
        fmt::format("[tokens] [{}, {}) is not a part of {} tokens", begin, end, size()));
}

void Tokens::read(std::int64_t at, std::span<std::int32_t> out) const {
  require(at, at + static_cast<std::int64_t>(out.size()));
  if (!out.empty()) source_->read(begin_ + at, out);
}

Tokens Tokens::slice(std::int64_t begin, std::int64_t end) const {
  require(begin, end);
  return Tokens(source_, begin_ + begin, begin_ + end);
}

std::string shakespeare_path() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  fs::path folder;
  if (cache != nullptr && cache[0] == '/')  // the XDG standard says to ignore a relative path
    folder = cache;
  else if (home != nullptr && home[0] != '\0')
    folder = fs::path(home) / ".cache";
  else
    throw IoError(
        "the cache folder with tiny Shakespeare is unknown, since neither XDG_CACHE_HOME nor HOME "
        "is set: "
        "give a text file by --data PATH");
  return (folder / "muonlab" / "tinyshakespeare.txt").string();
}

Corpus open_corpus(const DataConfig& config) {
  const std::string& path = config.data;
  if (path == "builtin") return builtin_corpus(config);
  if (path == "shakespeare") return shakespeare_corpus(config.bytes);
  std::error_code ignored;
  const bool folder = fs::is_directory(path, ignored);
  if (!folder && is_missing(path)) {
    const std::string near = nearest_name(path, {"builtin", "shakespeare"});
    throw IoError(fmt::format(
        "there is no corpus '{}': --data takes builtin, shakespeare, or the path of a text file, "
        "a token file or a folder with train.bin{}",
        path, near.empty() ? "" : fmt::format("; did you mean {}?", near)));
  }
  const auto file = folder ? nullptr : std::make_shared<const MappedFile>(path);
  if (file && !is_token_file(*file)) return text_corpus(path, file, config.bytes);
  if (config.bytes)
    throw ConfigError(fmt::format("--bytes is for text, but '{}' holds tokens", path));
  return folder ? token_folder(config) : token_file(file, config);
}

}  // namespace muonlab

#include "data/corpus.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <functional>

#include "core/error.h"
#include "core/rng.h"
#include "data/utf8.h"
#include "tests/data/files.h"
#include "tests/support/catch.h"

using namespace muonlab;
using test::ScopedEnv;
using test::TempFolder;
using test::u16_bytes;

namespace {

Corpus open(const std::string& data, bool bytes = false) {
  DataConfig config;
  config.data = data;
  config.bytes = bytes;
  return open_corpus(config);
}

Corpus open_with_vocabulary(const std::string& data, std::int64_t vocab_size) {
  DataConfig config;
  config.data = data;
  config.vocab_size = vocab_size;
  return open_corpus(config);
}

std::vector<std::int32_t> all(const Tokens& tokens) {
  std::vector<std::int32_t> ids(static_cast<std::size_t>(tokens.size()));
  tokens.read(0, ids);
  return ids;
}

std::string text_of(const Corpus& corpus) {
  return corpus.tokenizer->decode(all(corpus.train)) + corpus.tokenizer->decode(all(corpus.val));
}

template <class E>
std::string message_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const E& error) {
    return error.what();
  }
  return "no error";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::string llmc_bytes(const std::vector<std::uint16_t>& tokens, std::int32_t magic = 20240520,
                       std::int32_t version = 1, std::int32_t extra = 0) {
  std::vector<std::int32_t> header(256);
  header[0] = magic;
  header[1] = version;
  header[2] = static_cast<std::int32_t>(tokens.size()) + extra;
  return std::string(reinterpret_cast<const char*>(header.data()), 1024) + u16_bytes(tokens);
}

}  // namespace

TEST_CASE("corpus: text becomes characters numbered in sorted order, split as nanoGPT does") {
  const TempFolder folder;
  const std::string text = "the cat sat on the mat\n";  // int(0.9 * 23) = 20
  const Corpus corpus = open(folder.write("cat.txt", text));
  CHECK(corpus.vocab_size == 11);  // "\n acehmnost"
  CHECK(corpus.train.size() == 20);
  CHECK(corpus.val.size() == 3);
  CHECK(all(corpus.val) == std::vector<std::int32_t>{2, 10, 0});
  CHECK(text_of(corpus) == text);
  CHECK(corpus.sha256 == "0aa364ba6be386e49b373920d71cb932bb6b39cc2044cf7f16bf47a9832195c9");
  CHECK_FALSE(corpus.val_floor.has_value());
  CHECK_FALSE(corpus.source_entropy.has_value());

  const Corpus bytes = open(folder / "cat.txt", true);
  CHECK(bytes.vocab_size == 256);
  CHECK(all(bytes.val) == std::vector<std::int32_t>{'a', 't', '\n'});
  CHECK(bytes.sha256 == corpus.sha256);
}

TEST_CASE("corpus: characters of several bytes are found at any position") {
  // Long enough for several entries of the index of offsets, in characters of 1 to 4 bytes.
  const TempFolder folder;
  const Rng rng(1, RngPurpose::test);
  const std::u32string alphabet = U"ab zéßжλ漢字🙂🚀";
  std::string text;
  std::vector<char32_t> characters;
  for (std::uint64_t i = 0; i < 10000; ++i) {
    characters.push_back(alphabet[rng.below(alphabet.size(), i)]);
    append_utf8(text, characters.back());
  }
  const Corpus corpus = open(folder.write("mixed.txt", text));
  CHECK(corpus.vocab_size == static_cast<std::int64_t>(alphabet.size()));
  CHECK(corpus.train.size() == 9000);
  CHECK(corpus.val.size() == 1000);
  CHECK(text_of(corpus) == text);
  std::u32string sorted = alphabet;
  std::sort(sorted.begin(), sorted.end());
  for (std::uint64_t i = 0; i < 300; ++i) {
    const auto at = static_cast<std::int64_t>(rng.below(8900, 20000 + i));
    std::vector<std::int32_t> window(100);
    corpus.train.read(at, window);
    for (std::size_t k = 0; k < window.size(); ++k)
      if (sorted[static_cast<std::size_t>(window[k])] !=
          characters[static_cast<std::size_t>(at) + k])
        FAIL("window at " << at << ", character " << k);
  }
}

TEST_CASE("corpus: reads and slices stay inside") {
  const TempFolder folder;
  const Tokens tokens = open(folder.write("a.txt", std::string(100, 'a') + "b")).train;
  std::vector<std::int32_t> out(10);
  CHECK_NOTHROW(tokens.read(80, out));
  CHECK_THROWS_AS(tokens.read(81, out), ShapeError);
  CHECK_THROWS_AS(tokens.read(-1, out), ShapeError);
  CHECK(tokens.slice(10, 20).size() == 10);
  CHECK_THROWS_AS(tokens.slice(10, 91), ShapeError);
  CHECK_THROWS_AS(tokens.slice(-1, 3), ShapeError);
  CHECK_THROWS_AS(tokens.slice(4, 3), ShapeError);
  CHECK_THROWS_AS(tokens.slice(10, 20).read(1, out), ShapeError);
  CHECK(Tokens().size() == 0);
}

TEST_CASE("corpus: text that cannot be used") {
  const TempFolder folder;
  const auto message = [&](const std::string& data) {
    return message_of<Error>([&] { open(data); });
  };
  CHECK(contains(message_of<IoError>([&] { open(folder / "none.txt"); }),
                 "there is no corpus '" + folder.str()));
  CHECK(contains(message("shakespear"), "did you mean shakespeare?"));
  CHECK_THROWS_AS(open(""), IoError);
  CHECK(message_of<FormatError>([&] { open(folder.write("empty.txt", "")); }) ==
        "'" + (folder / "empty.txt") + "' is empty: it should hold text or tokens");
  const std::string invalid = folder.write("latin1.txt", "na\xEFve");
  CHECK(contains(message_of<FormatError>([&] { open(invalid); }),
                 "is not UTF-8 text: byte 0xef at position 2 starts no character"));
  CHECK(contains(message(invalid), "--bytes"));
  CHECK(open(invalid, true).vocab_size == 256);
  // A character that the file's end cuts short.
  CHECK(contains(message(folder.write("cut.txt", "caf\xC3")), "byte 0xc3 at position 3"));
  REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
  CHECK(contains(message(folder / "pipe"), "is not a regular file"));
  CHECK(contains(message("/dev/null"), "is not a regular file"));
  // A path that goes through a file, and one that is too long.
  CHECK(contains(message(invalid + "/x"), "there is no corpus"));
  CHECK(contains(message(std::string(5000, 'x')), "cannot open"));
  if (::geteuid() != 0) {  // root may read everything
    folder.write("locked/x.txt", "x");
    ::chmod((folder / "locked").c_str(), 0);
    CHECK(contains(message(folder / "locked/x.txt"), "Permission denied"));
    ::chmod((folder / "locked").c_str(), 0700);
  }
}

TEST_CASE("corpus: a file that changes while it is open gives an error, not a wrong token") {
  const TempFolder folder;
  const auto overwrite = [](const std::string& path, std::streamoff at, const std::string& bytes) {
    std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(at);
    file << bytes;
  };
  const std::string ascii = folder.write("ascii.txt", std::string(100, 'a') + "b");
  const std::string utf8 = folder.write("utf8.txt", "é" + std::string(100, 'a') + "b");
  const std::string tokens = folder.write("x.bin", llmc_bytes(std::vector<std::uint16_t>(100, 3)));
  const Corpus a = open(ascii), u = open(utf8), t = open(tokens);
  overwrite(ascii, 10, "x");
  overwrite(utf8, 10, "x");
  overwrite(tokens, 1024 + 2 * 7, "\xFF\xFF");
  std::vector<std::int32_t> out(20);
  CHECK(contains(message_of<FormatError>([&] { a.train.read(0, out); }),
                 "changed while it was in use"));
  CHECK(contains(message_of<FormatError>([&] { u.train.read(0, out); }),
                 "changed while it was in use"));
  CHECK(contains(message_of<FormatError>([&] { t.train.read(0, out); }),
                 "holds token 65535 at position 7, outside the vocabulary of 64 tokens"));
  CHECK_NOTHROW(a.train.read(20, out));
  CHECK_NOTHROW(t.train.read(20, out));
}

TEST_CASE("corpus: a file that becomes shorter gives an error, not a signal") {
  const TempFolder folder;
  const std::size_t n = 40000;  // some pages of memory each
  const std::string ascii = folder.write("ascii.txt", std::string(n, 'a') + "b");
  const std::string utf8 = folder.write("utf8.txt", "é" + std::string(n, 'a') + "b");
  const std::string tokens = folder.write("x.bin", llmc_bytes(std::vector<std::uint16_t>(n, 3)));
  folder.write("nano/train.bin", u16_bytes(std::vector<std::uint16_t>(n, 3)));
  folder.write("nano/val.bin", u16_bytes(std::vector<std::uint16_t>(n, 3)));
  std::vector<std::int32_t> out(20);
  const auto require_error = [&](const std::string& data, const std::string& file, bool bytes) {
    INFO(file);
    const Corpus corpus = open(data, bytes);
    const auto size = std::filesystem::file_size(file);
    // The tokens at the end would be zeros of the last page, those before it nothing at all.
    for (const std::uintmax_t left : {size - 10, std::uintmax_t{0}}) {
      std::filesystem::resize_file(file, left);
      for (const std::int64_t at : {std::int64_t{0}, corpus.train.size() - 20})
        CHECK(message_of<FormatError>([&] { corpus.train.read(at, out); }) ==
              "'" + file + "' changed while it was in use");
    }
  };
  const std::string saved = folder.write("saved.txt", std::string(n, 'a') + "b");
  require_error(ascii, ascii, false);
  require_error(saved, saved, true);
  require_error(utf8, utf8, false);
  require_error(tokens, tokens, false);
  require_error(folder / "nano", folder / "nano/train.bin", false);
  // One that becomes longer has all that it had.
  const std::string longer = folder.write("longer.txt", std::string(n, 'a') + "b");
  const Corpus corpus = open(longer);
  std::filesystem::resize_file(longer, 2 * n);
  CHECK_NOTHROW(corpus.train.read(0, out));
}

TEST_CASE("corpus: a folder of nanoGPT's") {
  const TempFolder folder;
  const std::string train = folder.write("train.bin", u16_bytes({5, 0, 50256, 7}));
  folder.write("val.bin", u16_bytes({1, 2}));

  SECTION("without a vocabulary: the largest token + 1, rounded up to a multiple of 64") {
    const Corpus corpus = open(folder.str());
    CHECK(corpus.vocab_size == 50304);
    CHECK(corpus.tokenizer == nullptr);
    CHECK(all(corpus.train) == std::vector<std::int32_t>{5, 0, 50256, 7});
    CHECK(all(corpus.val) == std::vector<std::int32_t>{1, 2});
    folder.write("val.bin", u16_bytes({63}));
    folder.write("train.bin", u16_bytes({1}));
    CHECK(open(folder.str()).vocab_size == 64);
    folder.write("val.bin", u16_bytes({64}));
    CHECK(open(folder.str()).vocab_size == 128);
    folder.write("val.bin", u16_bytes({65535}));
    CHECK(open(folder.str()).vocab_size == 65536);
  }
  SECTION("a vocabulary that is named") {
    CHECK(open(folder.str()).largest_token == 50256);
    CHECK(open_with_vocabulary(folder.str(), 50257).vocab_size == 50257);
    CHECK(!open_with_vocabulary(folder.str(), 50257).largest_token);
    CHECK(contains(message_of<FormatError>([&] { open_with_vocabulary(folder.str(), 50256); }),
                   "train.bin' holds token 50256 at position 2, outside the vocabulary of 50256 "
                   "tokens that --vocab_size names"));
  }
  SECTION("the checksum covers both files") {
    const std::string before = open(folder.str()).sha256;
    folder.write("val.bin", u16_bytes({1, 3}));
    CHECK(open(folder.str()).sha256 != before);
  }
  SECTION("with nanoGPT's vocabulary of characters") {
    const std::string meta = "\x80\x04}(\x8c\x04itos}(";
    folder.write("meta.pkl", meta + std::string("K\0\x8c\x01"
                                                "aK\1\x8c\x01"
                                                "buu.",
                                                13));
    CHECK(contains(message_of<FormatError>([&] { open(folder.str()); }),
                   "train.bin' holds token 5 at position 0, outside the vocabulary of 2 tokens in "
                   "meta.pkl"));
    folder.write("train.bin", u16_bytes({0, 1, 1}));
    folder.write("val.bin", u16_bytes({1, 0}));
    const Corpus corpus = open(folder.str());
    CHECK(corpus.vocab_size == 2);
    CHECK(text_of(corpus) == "abbba");
    folder.write("meta.pkl", "hello");
    CHECK_THROWS_AS(open(folder.str()), FormatError);
  }
  SECTION("damaged or missing files") {
    folder.write("val.bin", "abc");
    CHECK(contains(message_of<FormatError>([&] { open(folder.str()); }),
                   "val.bin' has 3 bytes, an odd number"));
    folder.write("val.bin", "");
    CHECK(contains(message_of<FormatError>([&] { open(folder.str()); }), "val.bin' is empty"));
    std::filesystem::remove(folder / "val.bin");
    CHECK(contains(message_of<IoError>([&] { open(folder.str()); }), "has no val.bin"));
    std::filesystem::remove(train);
    CHECK(contains(message_of<IoError>([&] { open(folder.str()); }), "has no train.bin"));
  }
  SECTION("bytes are for text") { CHECK_THROWS_AS(open(folder.str(), true), ConfigError); }
}

TEST_CASE("corpus: a token file of llm.c") {
  const TempFolder folder;
  std::vector<std::uint16_t> tokens(20);
  for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<std::uint16_t>(100 + i);
  const std::string path = folder.write("tokens.bin", llmc_bytes(tokens));
  const Corpus corpus = open(path);
  CHECK(corpus.vocab_size == 128);
  CHECK(corpus.tokenizer == nullptr);
  CHECK(corpus.train.size() == 18);
  CHECK(all(corpus.val) == std::vector<std::int32_t>{118, 119});
  CHECK(open_with_vocabulary(path, 120).vocab_size == 120);
  CHECK(contains(message_of<FormatError>([&] { open_with_vocabulary(path, 119); }),
                 "tokens.bin' holds token 119 at position 19, outside the vocabulary of 119"));
  // The magic number is enough, whatever the name.
  CHECK(open(folder.write("tokens", llmc_bytes(tokens))).train.size() == 18);

  const auto message = [&](const std::string& bytes) {
    return message_of<FormatError>([&] { open(folder.write("bad.bin", bytes)); });
  };
  const std::string good = llmc_bytes(tokens);
  CHECK(contains(message(good.substr(0, good.size() - 4)),
                 "is truncated: its header names 20 tokens of 2 bytes, and 36"));
  CHECK(contains(message(good.substr(0, good.size() - 1)), "is truncated"));
  CHECK(contains(message(good.substr(0, 1023)), "ends within its header"));
  CHECK(contains(message(good.substr(0, 4)), "ends within its header"));
  CHECK(contains(message(good + "x"), "is damaged"));
  CHECK(contains(message(llmc_bytes(tokens, 20240520, 1, -21)), "is damaged"));
  CHECK(contains(message(llmc_bytes(tokens, 20240520, 2)), "version 2; only version 1"));
  CHECK(contains(message(llmc_bytes(tokens, 20240801)), "does not start with the number 20240520"));
  CHECK(contains(message("abc"), "does not start with the number 20240520"));
  CHECK(contains(message(u16_bytes(tokens)), "give the folder that holds them"));
  CHECK(contains(message(""), "is empty"));
  CHECK(contains(message_of<ConfigError>([&] { open(path, true); }), "--bytes is for text"));
}

TEST_CASE("corpus: builtin is whole passages from a seed") {
  DataConfig config;
  config.builtin_size = 50000;
  const Corpus corpus = open_corpus(config);
  const std::string text = text_of(corpus);
  const auto split = static_cast<std::size_t>(corpus.train.size());
  // Passages have about 500 characters; none has 2000.
  CHECK(split >= 45000);
  CHECK(split < 47000);
  CHECK(text.size() >= 50000);
  CHECK(text.size() < 52000);
  CHECK(text.substr(split - 2, 2) == "\n\n");
  CHECK(text.substr(text.size() - 2) == "\n\n");
  CHECK(corpus.vocab_size >= 40);
  CHECK(corpus.vocab_size <= 60);
  // About 10 passages are held out; their mean lies within 20 % of the expectation.
  REQUIRE(corpus.val_floor.has_value());
  REQUIRE(corpus.source_entropy.has_value());
  CHECK(*corpus.val_floor == Approx(*corpus.source_entropy).epsilon(0.2));

  CHECK(open_corpus(config).sha256 == corpus.sha256);
  config.builtin_seed = 2;
  CHECK(open_corpus(config).sha256 != corpus.sha256);
  config.builtin_seed = 1;
  config.bytes = true;
  const Corpus bytes = open_corpus(config);
  CHECK(bytes.vocab_size == 256);
  CHECK(text_of(bytes) == text);
  CHECK(*bytes.val_floor == *corpus.val_floor);  // one byte per character
}

TEST_CASE("corpus: tiny Shakespeare is looked for in the cache folder") {
  const TempFolder folder;
  const ScopedEnv home("HOME", folder.str().c_str());
  {
    const ScopedEnv cache("XDG_CACHE_HOME", (folder / "xdg").c_str());
    CHECK(shakespeare_path() == folder / "xdg/muonlab/tinyshakespeare.txt");
    const std::string missing = message_of<IoError>([] { open("shakespeare"); });
    CHECK(contains(missing, "data/get_shakespeare.sh"));
    CHECK(contains(missing, "--data PATH"));
    folder.write("xdg/muonlab/tinyshakespeare.txt", "To be");
    CHECK(contains(message_of<FormatError>([] { open("shakespeare"); }),
                   "is not tiny Shakespeare (5 bytes"));
    // The right size is not enough.
    folder.write("xdg/muonlab/tinyshakespeare.txt", std::string(1115394, 'a'));
    CHECK(contains(message_of<FormatError>([] { open("shakespeare"); }),
                   "is not tiny Shakespeare (1115394 bytes"));
  }
  for (const char* ignored : {static_cast<const char*>(nullptr), "", "relative/path"}) {
    const ScopedEnv cache("XDG_CACHE_HOME", ignored);
    CHECK(shakespeare_path() == folder / ".cache/muonlab/tinyshakespeare.txt");
    const ScopedEnv no_home("HOME", nullptr);
    CHECK_THROWS_AS(shakespeare_path(), IoError);
  }
}

TEST_CASE("corpus: tiny Shakespeare has nanoGPT's vocabulary and split") {
  const std::string found = test::find_shakespeare();
  if (found.empty()) {
    WARN("skipped: no copy of tiny Shakespeare here");
    return;
  }
  const TempFolder folder;
  const ScopedEnv cache("XDG_CACHE_HOME", folder.str().c_str());
  std::filesystem::create_directories(folder / "muonlab");
  std::filesystem::copy_file(found, folder / "muonlab/tinyshakespeare.txt");
  const Corpus corpus = open("shakespeare");
  CHECK(corpus.name == "shakespeare");
  CHECK(corpus.vocab_size == 65);
  CHECK(corpus.train.size() == 1003854);
  CHECK(corpus.val.size() == 111540);
  // nanoGPT's first ids of data/shakespeare_char: "First Citizen:\n".
  std::vector<std::int32_t> ids(15);
  corpus.train.read(0, ids);
  CHECK(ids == std::vector<std::int32_t>{18, 47, 56, 57, 58, 1, 15, 47, 58, 47, 64, 43, 52, 10, 0});
}

TEST_CASE("corpus: options reach the configuration, and absurd values do not") {
  DataConfig config;
  for (Option& option : options(config)) {
    if (option.name == "data") option.set("x.txt");
    if (option.name == "bytes") option.set("true");
    if (option.name == "builtin_seed") option.set("7");
    if (option.name == "vocab_size") option.set("50257");
    if (option.name == "builtin_size") {
      option.set("20000");
      for (const char* absurd : {"-1", "0", "9999", "1e30", "nan", "99999999999999999999"})
        CHECK_THROWS_AS(option.set(absurd), ConfigError);
    }
  }
  CHECK(config.data == "x.txt");
  CHECK(config.bytes);
  CHECK(config.builtin_seed == 7);
  CHECK(config.builtin_size == 20000);
  CHECK(config.vocab_size == 50257);
}

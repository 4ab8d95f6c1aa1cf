#include "data/nanogpt_meta.h"

#include "core/error.h"
#include "core/rng.h"
#include "tests/support/catch.h"

using namespace muonlab;

namespace {

std::string bytes(std::initializer_list<const char*> parts,
                  std::initializer_list<std::size_t> sizes) {
  std::string text;
  auto size = sizes.begin();
  for (const char* part : parts) text.append(part, *size++);
  return text;
}

// pickle.dumps({"vocab_size": 4, "itos": {0: "\n", 1: " ", 2: "a", 3: "é"}, "stoi": {...}},
// protocol) as CPython 3.11 writes it.
std::string protocol4() {
  static const char text[] =
      "\x80\x04\x95S\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\nvocab_size\x94K\x04\x8c\x04itos\x94}"
      "\x94("
      "K\x00\x8c\x01\n\x94K\x01\x8c\x01 \x94K\x02\x8c\x01"
      "a\x94K\x03\x8c\x02\xc3\xa9\x94u\x8c\x04stoi\x94}\x94("
      "h\x04K\x00h\x05K\x01h\x06K\x02h\x07K\x03uu.";
  return bytes({text}, {sizeof text - 1});
}
std::string protocol2() {
  static const char text[] =
      "\x80\x02}q\x00(X\n\x00\x00\x00vocab_sizeq\x01K\x04X\x04\x00\x00\x00itosq\x02}q\x03("
      "K\x00X\x01\x00\x00\x00\n"
      "q\x04K\x01X\x01\x00\x00\x00 q\x05K\x02X\x01\x00\x00\x00"
      "aq\x06K\x03X\x02\x00\x00\x00\xc3\xa9q\x07uX\x04\x00"
      "\x00\x00stoiq\x08}q\t(h\x04K\x00h\x05K\x01h\x06K\x02h\x07K\x03uu.";
  return bytes({text}, {sizeof text - 1});
}

bool accepts(const std::string& pickle) {
  try {
    read_nanogpt_meta(pickle, "meta.pkl");
    return true;
  } catch (const FormatError& error) {
    CHECK(std::string(error.what()).find("meta.pkl") != std::string::npos);
    return false;
  }
}

}  // namespace

TEST_CASE("nanoGPT meta: the vocabulary that prepare.py pickles") {
  for (const std::string& pickle : {protocol4(), protocol2()}) {
    const auto tokenizer = read_nanogpt_meta(pickle, "meta.pkl");
    CHECK(tokenizer->vocab_size() == 4);
    CHECK(tokenizer->encode("aé \n") == std::vector<std::int32_t>{2, 3, 1, 0});
  }
}

TEST_CASE("nanoGPT meta: other pickles are refused") {
  CHECK_FALSE(accepts("hello"));
  CHECK_FALSE(accepts("\x80\x04}."));                  // {}
  CHECK_FALSE(accepts("\x80\x04."));                   // an empty stack
  CHECK_FALSE(accepts("\x80\x04}(u."));                // {} with no items
  CHECK_FALSE(accepts("\x80\x04(u."));                 // items of no dictionary
  CHECK_FALSE(accepts("cos\nsystem\n(S'true'\ntR."));  // code is never run
  // {"itos": {0: "ab"}}, {"itos": {1: "a"}} and {"itos": {0: "a"}}
  const std::string head = "\x80\x04}(\x8c\x04itos}(K";
  CHECK_FALSE(accepts(head + std::string("\0", 1) +
                      "\x8c\x02"
                      "abuu."));
  CHECK_FALSE(accepts(head + "\x01\x8c\x01"
                             "auu."));
  CHECK(accepts(head + std::string("\0", 1) +
                "\x8c\x01"
                "auu."));
  // {"itos": {0: "a", 0: "b"}}
  const std::string zero("K\0\x8c\x01", 4);
  CHECK_FALSE(accepts("\x80\x04}(\x8c\x04itos}(" + zero + "a" + zero + "buu."));
  // A dictionary that holds itself.
  CHECK_FALSE(accepts(std::string("\x80\x04}\x94(\x8c\x04itosh\x00u.", 15)));
}

TEST_CASE("nanoGPT meta: damaged files give an error or a vocabulary, never a crash") {
  for (const std::string& whole : {protocol4(), protocol2()}) {
    for (std::size_t n = 0; n < whole.size(); ++n) CHECK_FALSE(accepts(whole.substr(0, n)));
    const Rng rng(1, RngPurpose::test);
    int refused = 0;
    for (std::uint64_t i = 0; i < 20000; ++i) {
      std::string damaged = whole;
      for (std::uint64_t k = 0; k <= i % 3; ++k)
        damaged[rng.below(damaged.size(), 8 * i + 2 * k)] =
            static_cast<char>(rng.bits(8 * i + 2 * k + 1));
      refused += !accepts(damaged);
    }
    CHECK(refused > 0);
  }
}

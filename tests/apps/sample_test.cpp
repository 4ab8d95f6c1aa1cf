#include <cstdint>

#include "tests/apps/program.h"

using namespace muonlab::test;

namespace {

/// A run on the built-in corpus, shared by the tests of this file.
const std::string& trained() {
  static const TempFolder folder;
  static const std::string path = [] {
    const std::string run_folder = folder / "run";
    run_well(train(run_folder, 60, {"--batch", "8"}));
    return run_folder;
  }();
  return path;
}

std::string sample(const Arguments& more) {
  return run_well(Arguments{"sample", trained(), "--threads", "1"} + more);
}

bool is_utf8(const std::string& text) {
  int open = 0;
  for (const char character : text) {
    const auto c = static_cast<unsigned char>(character);
    if (open > 0) {
      if ((c & 0xC0) != 0x80) return false;
      --open;
    } else if (c >= 0x80) {
      open = c >= 0xF0 ? 3 : c >= 0xE0 ? 2 : c >= 0xC2 ? 1 : -1;
      if (open < 0) return false;
    }
  }
  return open == 0;
}

}  // namespace

TEST_CASE("the same tokens with and without the cache, far beyond the window") {
  // The window is 16 tokens: 100 of them slide it a dozen times.
  for (const std::string seed : {"1", "2", "3"}) {
    const std::string cached = sample({"--tokens", "100", "--prompt", "The ", "--seed", seed});
    CHECK(cached == sample({"--tokens", "100", "--prompt", "The ", "--seed", seed, "--no_cache"}));
    CHECK(cached.size() == 4 + 100 + 1);
    CHECK(cached.substr(0, 4) == "The ");
  }
  const std::string long_prompt =
      "The people of the town said that the ";  // longer than the window
  CHECK(sample({"--tokens", "50", "--prompt", long_prompt}) ==
        sample({"--tokens", "50", "--prompt", long_prompt, "--no_cache"}));
}

TEST_CASE("seed, temperature, top-k and top-p do what they say") {
  const std::string one = sample({"--tokens", "60", "--seed", "1"});
  CHECK(one == sample({"--tokens", "60", "--seed", "1"}));
  CHECK(one != sample({"--tokens", "60", "--seed", "2"}));
  CHECK(one == sample({"--tokens", "60", "--seed", "1", "--top_k", "100000", "--top_p", "1"}));
  // Only one token is left to choose from: all three are the greedy text, whatever the seed.
  const std::string greedy = sample({"--tokens", "60", "--temperature", "0"});
  CHECK(greedy == sample({"--tokens", "60", "--top_k", "1", "--seed", "5"}));
  CHECK(greedy == sample({"--tokens", "60", "--top_p", "1e-9", "--seed", "6"}));
  CHECK(greedy != sample({"--tokens", "60", "--temperature", "5"}));
  // A hot model uses most of its vocabulary, of which three tokens a step cannot be told from the
  // text alone; but the most likely three never include a rare letter.
  const std::string hot = sample({"--tokens", "400", "--temperature", "100"});
  const std::string few = sample({"--tokens", "400", "--temperature", "100", "--top_k", "3"});
  const auto different = [](std::string text) {
    std::sort(text.begin(), text.end());
    return std::unique(text.begin(), text.end()) - text.begin();
  };
  CHECK(different(hot) > different(few) + 10);

  for (const Arguments& bad : std::vector<Arguments>{{"--temperature", "-1"},
                                                     {"--top_p", "0"},
                                                     {"--top_p", "1.5"},
                                                     {"--top_k", "-1"},
                                                     {"--tokens", "0"}})
    check_error(run(Arguments{"sample", trained()} + bad), 2, {bad[0], "expected"});
}

TEST_CASE("a prompt outside the vocabulary is refused by its character") {
  check_error(run({"sample", trained(), "--prompt", "The \xe2\x82\xac"}), 2, {"\xe2\x82\xac"});
  const Outcome invalid = run({"sample", trained(), "--prompt", "The \xff"});
  CHECK((invalid.code == 1 || invalid.code == 2));
  CHECK(invalid.out.empty());
}

TEST_CASE("sampling needs the run folder alone, wherever it is") {
  const TempFolder folder;
  spill(folder / "text.txt", [] {
    std::string text;
    for (int i = 0; i < 300; ++i) text += fmt::format("line {}\n", i);
    return text;
  }());
  run_well(train(folder / "run", 5, {"--data", folder / "text.txt"}));
  const std::string before = run_well({"sample", folder / "run", "--tokens", "30"});
  fs::remove(folder / "text.txt");
  fs::rename(folder / "run", folder / "moved");
  CHECK(run_well({"sample", folder / "moved", "--tokens", "30"}) == before);
  CHECK(run({"sample", folder / "run"}).code == 1);
  check_error(run({"eval", folder / "moved"}), 1, {"text.txt"});
}

TEST_CASE("a byte model's text comes out in whole UTF-8 sequences") {
  const TempFolder folder;
  std::string text;
  for (int i = 0; i < 400; ++i)
    text += "\xe2\x82\xac\xc3\xa4\xf0\x9f\x99\x82";  // three, two and four bytes
  spill(folder / "text.txt", text);
  const std::string run_folder = folder / "run";
  run_well(train(run_folder, 150,
                 {"--data", folder / "text.txt", "--bytes", "--batch", "8", "--lr", "0.01",
                  "--optimizer", "adamw"}));
  // The model has learnt the nine bytes by heart; text that breaks off inside a sequence is the
  // end.
  const std::string out = run_well(
      {"sample", run_folder, "--prompt", "\xe2\x82\xac", "--tokens", "60", "--temperature", "0"});
  INFO(out);
  CHECK(is_utf8(out));
  CHECK(count_of(out, "\xf0\x9f\x99\x82") >= 5);
}

namespace {

/// A token file of llm.c: 4000 tokens below 97.
std::string token_file() {
  std::string file(1024, '\0');  // 256 int32 (20240520, 1, count), then uint16 tokens
  const auto put = [&](std::size_t at, std::uint32_t value) {
    for (std::size_t i = 0; i < 4; ++i) file[at + i] = static_cast<char>(value >> (8 * i));
  };
  constexpr std::uint32_t kCount = 4000;
  put(0, 20240520);
  put(4, 1);
  put(8, kCount);
  for (std::uint32_t i = 0; i < kCount; ++i) {
    const std::uint32_t id = i * i % 97;
    file += static_cast<char>(id);
    file += '\0';
  }
  return file;
}

}  // namespace

TEST_CASE("a model of tokens without text writes and reads ids") {
  const TempFolder folder;
  spill(folder / "tokens.bin", token_file());
  const std::string run_folder = folder / "run";
  run_well(train(run_folder, 5, {"--data", folder / "tokens.bin"}));
  CHECK(!fs::exists(run_folder + "/tokenizer.json"));
  const std::string out = run_well({"sample", run_folder, "--tokens", "8", "--prompt", "5 17 31"});
  CHECK(out.rfind("5 17 31 ", 0) == 0);
  CHECK(count_of(out, " ") == 10);
  check_error(run({"sample", run_folder, "--prompt", "5 99999"}), 2, {"--prompt", "'99999'"});
  check_error(run({"sample", run_folder, "--prompt", "five"}), 2, {"--prompt", "'five'"});
  const std::string json = run_well({"eval", run_folder, "--json"});
  CHECK(!field(json, "val_loss").empty());
  CHECK(field(json, "bits_per_character").empty());
  spill(run_folder + "/tokenizer.json", R"({"kind":"bytes"})");
  check_error(run({"sample", run_folder}), 1, {"tokenizer.json", "without text"});
}

TEST_CASE("the vocabulary of token files can be named, and a run keeps it") {
  const TempFolder folder;
  const std::string tokens = folder / "tokens.bin", run_folder = folder / "run";
  spill(tokens, token_file());
  const auto vocabulary = [](const std::string& run) {
    return field(run_well({"info", run, "--json"}), "vocab_size");
  };
  CHECK(contains(run_well(train(folder / "derived", 2, {"--data", tokens})),
                 "the largest token, 96, rounded up to a multiple of 64; --vocab_size"));
  CHECK(vocabulary(folder / "derived") == "128");

  CHECK(!contains(run_well(train(run_folder, 2, {"--data", tokens, "--vocab_size", "100"})),
                  "largest token"));
  CHECK(vocabulary(run_folder) == "100");
  run_well({"train", "--resume", run_folder, "--steps", "3"});
  CHECK(vocabulary(run_folder) == "100");
  run_well({"eval", run_folder});
  check_error(run({"train", "--resume", run_folder, "--vocab_size", "200"}), 2,
              {"vocab_size is '100' in the run and '200' here"});

  // i^2 mod 97 is first 50 or more at i = 8: 64.
  check_error(run(train(folder / "small", 2, {"--data", tokens, "--vocab_size", "50"})), 1,
              {"tokens.bin", "token 64 at position 8", "50 tokens that --vocab_size names"});
  CHECK(!fs::exists(folder / "small"));

  const Outcome text = run(train(folder / "text", 2, {"--vocab_size", "500"}));
  CHECK(text.code == 0);
  CHECK(contains(text.err, "--vocab_size changes nothing"));
  CHECK(std::stoi(vocabulary(folder / "text")) < 100);

  // The preset for GPT-2 knows its vocabulary.
  run_well({"train", "--preset", "gpt2-124m", "--data", tokens, "--out", folder / "gpt2",
            "--n_layer", "1", "--n_head", "1", "--n_embd", "4", "--steps", "1", "--eval_interval",
            "0"});
  CHECK(vocabulary(folder / "gpt2") == "50257");
}

TEST_CASE("text is written with the tokenizer of the checkpoint alone") {
  const TempFolder folder;
  const std::string run_folder = folder / "run", path = run_folder + "/tokenizer.json";
  run_well(train(run_folder, 5));
  const std::string own = slurp(path), out = run_well({"sample", run_folder, "--tokens", "20"});
  const Arguments sample{"sample", run_folder, "--tokens", "20"};
  const auto refused = [&](const Arguments& parts) {
    const Outcome outcome = run(sample);
    check_error(outcome, 1, Arguments{path, "train --resume " + run_folder} + parts);
    CHECK(outcome.out.empty());
    run_well({"info", run_folder});  // which need none
    run_well({"eval", run_folder});
  };
  fs::remove(path);
  refused({"is not there"});
  for (const std::string other :
       {R"({"kind":"bytes"})", R"({"kind":"characters","vocabulary":"abc"})"}) {
    spill(path, other);
    refused({"is not the tokenizer that the model was trained with"});
  }
  // As many characters, but others.
  const std::string start = R"("vocabulary":")";
  const std::size_t at = own.find(start) + start.size();
  std::string swapped = own;
  REQUIRE(swapped[at] == '\\');  // a line break comes first, and a blank next
  REQUIRE(swapped.substr(at, 3) == "\\n ");
  swapped.replace(at, 3, " \\n");
  spill(path, swapped);
  refused({"is not the tokenizer that the model was trained with"});
  spill(path, "{\"kind\":");
  refused({"not valid JSON"});

  run_well({"train", "--resume", run_folder});  // as the sentence says
  CHECK(slurp(path) == own);
  CHECK(run_well(sample) == out);
}

TEST_CASE("eval covers the whole split and says what it leaves out") {
  const std::string val = run_well({"eval", trained(), "--json", "--threads", "1"});
  const std::int64_t tokens = std::stol(field(val, "tokens")),
                     left_out = std::stol(field(val, "tokens_left_out"));
  CHECK(tokens % 16 == 0);
  CHECK(left_out < 16);
  CHECK(tokens + left_out > 1500);  // a tenth of 20000 characters, give or take a passage
  // One token is one character here, so that the two units differ by ln 2.
  CHECK(std::stod(field(val, "bits_per_character")) ==
        Approx(std::stod(field(val, "val_loss")) / std::log(2.0)).epsilon(1e-12));
  CHECK(std::stod(field(val, "above_floor")) > 0);
  CHECK(run_well({"eval", trained(), "--json", "--threads", "2"}) == val);
  const std::string train_split = run_well({"eval", trained(), "--json", "--split", "train"});
  CHECK(std::stol(field(train_split, "tokens")) > 8 * tokens);
  CHECK(field(train_split, "above_floor").empty());
  // The smoothed model has learnt something: an untrained one is at ln(vocabulary) or above.
  CHECK(std::stod(field(val, "val_loss")) < std::log(50.0));
}

#include <fmt/format.h>

#include <cstdio>
#include <string_view>

#include "apps/cli.h"
#include "apps/commands.h"
#include "apps/generator.h"
#include "apps/memory.h"
#include "apps/run_state.h"
#include "apps/trainer.h"
#include "core/cpu/parallel.h"
#include "core/error.h"

namespace muonlab {
namespace {

struct SampleConfig {
  std::string run, prompt;
  std::int64_t tokens = 500, threads = 0;
  std::string device = "auto";
  bool cache = true;
  SamplingOptions sampling;
};

OptionTable options(SampleConfig& c) {
  return OptionBuilder()
      .text("run", c.run, "run folder, or a checkpoint in it")
      .text("prompt", c.prompt,
            "text to go on from; for a run on tokens without text, ids with blanks between them")
      .integer("tokens", c.tokens, {1, 1e9}, "how many to write")
      .number("temperature", c.sampling.temperature, {0, 100}, "0: always the most likely token")
      .integer("top_k", c.sampling.top_k, {0, 1e9},
               "draw among the k most likely tokens; 0: among all")
      .number("top_p", c.sampling.top_p, {.min = 0, .max = 1, .open_min = true},
              "draw among the fewest tokens that together have this probability")
      .integer("seed", c.sampling.seed, "decides what is drawn")
      .integer("threads", c.threads, {0, 1024}, "threads; 0: the cores of the machine")
      .choice("device", c.device, {"cpu", "cuda", "auto"},
              "where to compute; auto: on a GPU where there is one")
      .boolean("cache", c.cache, "keep keys and values; without, slower and to the same effect")
      .table();
}

/// Prints text as it comes, whole UTF-8 sequences at a time.
class TextStream {
 public:
  ~TextStream() { write(pending_.size()); }
  void put(std::string_view text) {
    pending_ += text;
    write(complete_length());
  }

 private:
  /// Bytes before a sequence at the end that may still go on.
  std::size_t complete_length() const {
    for (std::size_t back = 1; back <= std::min<std::size_t>(3, pending_.size()); ++back) {
      const auto c = static_cast<unsigned char>(pending_[pending_.size() - back]);
      if ((c & 0xC0) == 0x80) continue;  // inside a sequence: its first byte comes before
      const std::size_t length = c < 0xC0 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
      return length > back ? pending_.size() - back : pending_.size();
    }
    return pending_.size();
  }
  void write(std::size_t bytes) {
    std::fwrite(pending_.data(), 1, bytes, stdout);
    std::fflush(stdout);
    pending_.erase(0, bytes);
  }

  std::string pending_;
};

std::vector<std::int32_t> parse_ids(const std::string& text, std::int64_t vocab_size) {
  std::vector<std::int32_t> ids;
  std::string_view rest = text;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find(' '), rest.size());
    if (end > 0) {
      std::int64_t id = 0;
      OptionBuilder()
          .integer("prompt", id, {0, static_cast<double>(vocab_size - 1)}, "")
          .table()
          .front()
          .set(std::string(rest.substr(0, end)));
      ids.push_back(static_cast<std::int32_t>(id));
    }
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return ids;
}

/// Where text without a prompt begins: at a line break if the vocabulary has one (as nanoGPT), else
/// at token 0.
std::vector<std::int32_t> blank_prompt(const Tokenizer* tokenizer) {
  if (tokenizer) {
    try {
      return tokenizer->encode("\n");
    } catch (const Error&) {
      // No line break in this vocabulary.
    }
  }
  return {0};
}

}  // namespace

int sample_command(std::span<const std::string> arguments) {
  SampleConfig config;
  const CommandSpec spec{"sample",
                         "Writes text with a trained model. Needs nothing but the run folder.",
                         "run",
                         {{"Options", options(config)}}};
  const auto flags = parse_flags(spec, arguments);
  if (!flags) return 0;
  assign(spec.groups, *flags);
  if (config.run.empty()) throw ConfigError("which run? Give a run folder: muonlab sample RUN");
  if (config.threads > 0) cpu::set_threads(static_cast<int>(config.threads));

  const auto run = load_run(config.run, parse_device(config.device));
  require_finite_weights(*run->model, run->path.checkpoint.string());
  const std::unique_ptr<const Tokenizer> tokenizer = load_tokenizer(*run);
  std::vector<std::int32_t> prompt;
  if (!config.prompt.empty())
    prompt = tokenizer ? tokenizer->encode(config.prompt)
                       : parse_ids(config.prompt, run->state.vocab_size);
  if (prompt.empty()) prompt = blank_prompt(tokenizer.get());

  if (run->model->device() == Device{})
    require_sampling_memory(run->config.model, config.cache, "--no_cache needs less");
  Generator generator(*run->model, prompt, config.sampling, config.cache);
  {
    TextStream stream;
    stream.put(config.prompt);
    for (std::int64_t i = 0; i < config.tokens; ++i) {
      const std::int32_t id = generator.next();
      stream.put(tokenizer ? tokenizer->decode({&id, 1})
                           : fmt::format("{}{}", i || !config.prompt.empty() ? " " : "", id));
    }
  }
  fmt::print("\n");
  return 0;
}

}  // namespace muonlab

#include "apps/run_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "apps/commands.h"
#include "apps/files.h"
#include "apps/memory.h"
#include "apps/run_folder.h"
#include "core/error.h"
#include "core/hash.h"

namespace muonlab {
namespace {

template <class T>
T parse(const Metadata& metadata, const std::string& key, const std::filesystem::path& path) {
  const auto entry = metadata.find(key);
  T value{};
  if (entry != metadata.end()) {
    const std::string& text = entry->second;
    const char* end = text.data() + text.size();
    const auto [at, error] = std::from_chars(text.data(), end, value);
    if (error == std::errc() && at == end && value >= T{} && value <= std::numeric_limits<T>::max())
      return value;
  }
  throw FormatError(fmt::format(
      "{} is not the checkpoint of a run: its metadata have no valid '{}'", path.string(), key));
}

std::string text_of(const Metadata& metadata, const std::string& key,
                    const std::filesystem::path& path) {
  const auto entry = metadata.find(key);
  if (entry == metadata.end())
    throw FormatError(fmt::format("{} is not the checkpoint of a run: its metadata have no '{}'",
                                  path.string(), key));
  return entry->second;
}

}  // namespace

std::optional<double> RunState::above_floor() const {
  if (!val_loss || !val_is_whole || !val_floor) return std::nullopt;
  return *val_loss - *val_floor;
}

Metadata to_metadata(const RunState& s) {
  Metadata m{{"muonlab_version", MUONLAB_VERSION},         {"step", std::to_string(s.step)},
             {"updates", std::to_string(s.updates)},       {"config", s.config},
             {"vocab_size", std::to_string(s.vocab_size)}, {"corpus_sha256", s.corpus_sha256},
             {"elapsed_s", to_text(s.elapsed_s)}};
  if (s.tokenizer_sha256) m["tokenizer_sha256"] = *s.tokenizer_sha256;
  if (s.state_from > 0) m["state_from"] = std::to_string(s.state_from);
  if (s.val_floor) m["val_floor"] = to_text(*s.val_floor);
  if (s.source_entropy) m["source_entropy"] = to_text(*s.source_entropy);
  if (s.val_loss) {
    m["val_loss"] = to_text(*s.val_loss);
    m["val_split"] = s.val_is_whole ? "whole" : "subset";
  }
  if (s.best_val_loss) m["best_val_loss"] = to_text(*s.best_val_loss);
  return m;
}

RunState read_run_state(const Metadata& m, const std::filesystem::path& path) {
  RunState s;
  s.step = parse<std::int64_t>(m, "step", path);
  s.updates = parse<std::int64_t>(m, "updates", path);
  s.config = text_of(m, "config", path);
  s.vocab_size = parse<std::int64_t>(m, "vocab_size", path);
  s.corpus_sha256 = text_of(m, "corpus_sha256", path);
  if (m.contains("tokenizer_sha256")) s.tokenizer_sha256 = text_of(m, "tokenizer_sha256", path);
  s.elapsed_s = parse<double>(m, "elapsed_s", path);
  if (m.contains("state_from")) s.state_from = parse<std::int64_t>(m, "state_from", path);
  if (m.contains("val_floor")) s.val_floor = parse<double>(m, "val_floor", path);
  if (m.contains("source_entropy")) s.source_entropy = parse<double>(m, "source_entropy", path);
  if (m.contains("val_loss")) {
    s.val_loss = parse<double>(m, "val_loss", path);
    s.val_is_whole = text_of(m, "val_split", path) == "whole";
  }
  if (s.updates > s.step || s.state_from > s.updates)
    throw FormatError(
        fmt::format("{} is not the checkpoint of a run: its metadata say {} updates after {} "
                    "steps, and optimizer state from update {} on",
                    path.string(), s.updates, s.step, s.state_from));
  if (s.vocab_size == 0)
    throw FormatError(fmt::format(
        "{} is not the checkpoint of a run: its metadata say vocab_size 0", path.string()));
  if (const auto named = step_in_name(path); named && *named != s.step)
    throw FormatError(
        fmt::format("{} is by its name the checkpoint of step {}, and by its metadata "
                    "that of step {}: give the file its own name back",
                    path.string(), *named, s.step));
  if (m.contains("best_val_loss")) s.best_val_loss = parse<double>(m, "best_val_loss", path);
  return s;
}

std::string other_version(const Metadata& metadata) {
  constexpr std::size_t kLongest = 40;
  const auto entry = metadata.find("muonlab_version");
  if (entry == metadata.end() || entry->second == MUONLAB_VERSION) return "";
  // A file may come from a stranger: what would move a terminal's cursor is not shown.
  std::string shown = entry->second.substr(0, kLongest);
  std::replace_if(
      shown.begin(), shown.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return fmt::format("; the checkpoint was written by muonlab {}, and this is {}", shown,
                     MUONLAB_VERSION);
}

std::string tokenizer_sha256(const Tokenizer* tokenizer) {
  if (!tokenizer) return "";
  const std::string text = tokenizer->to_json();
  Sha256 hash;
  hash.update(text.data(), text.size());
  return hash.hex();
}

std::vector<NamedTensor> named_parameters(const Gpt& model) {
  std::vector<NamedTensor> tensors;
  for (const Parameter& p : model.parameters()) tensors.push_back({p.info.name, p.value()});
  return tensors;
}

std::string weights_sha256(std::vector<NamedTensor> tensors) {
  std::sort(tensors.begin(), tensors.end(),
            [](const NamedTensor& a, const NamedTensor& b) { return a.name < b.name; });
  Sha256 hash;
  for (const NamedTensor& t : tensors) {
    const Tensor host = t.tensor.to(Device{});
    hash.update(t.name.c_str(), t.name.size() + 1);
    hash.update(host.raw(), host.bytes());
  }
  return hash.hex();
}

RunPath find_run(const std::filesystem::path& path) {
  std::error_code error;
  if (std::filesystem::is_regular_file(path, error)) {
    if (path.extension() != kCheckpointSuffix)
      throw IoError(
          fmt::format("{} is no checkpoint: give a run folder, or a file *{} in its folder {}",
                      path.string(), kCheckpointSuffix, kCheckpoints));
    return {std::filesystem::absolute(path).parent_path().parent_path(), path};
  }
  if (!std::filesystem::is_directory(path, error))
    throw IoError(fmt::format("there is no run folder or checkpoint at {}", path.string()));
  const auto checkpoints = list_checkpoints(path);
  if (checkpoints.empty())
    throw IoError(fmt::format("{} holds no checkpoint yet{}", path.string(),
                              RunFolder::holds_run(path) ? "" : ", and no run either"));
  return {path, checkpoints.back().path};
}

namespace {

/// Opens the checkpoint that `path` leads to. A run that is going on may have replaced the newest
/// one since it was listed: then there is a newer one.
TensorFile open_checkpoint(const std::filesystem::path& path, RunPath& found) {
  constexpr int kTries = 5;
  for (int tried = 1;; ++tried) {
    found = find_run(path);
    try {
      return TensorFile(found.checkpoint);
    } catch (const IoError&) {
      if (tried == kTries || std::filesystem::exists(found.checkpoint)) throw;
    }
  }
}

/// Fills everything behind the path.
void read_run(const TensorFile& file, Device device, LoadedRun& run) {
  run.state = read_run_state(file.metadata(), run.path.checkpoint);
  try {
    run.config.layer(parse_config(run.state.config, "its configuration"), {});
  } catch (const ConfigError& error) {
    throw FormatError(fmt::format("{}: {}", run.path.checkpoint.string(), error.what()));
  }
  run.config.model.vocab_size = run.state.vocab_size;
  if (device == Device{})
    require_memory(fmt::format("the model in {}", run.path.checkpoint.string()),
                   std::vector<MemoryPart>{{"weights", weights_memory(run.config.model)}},
                   "it takes a machine with more memory, unless its configuration is damaged");
  run.model = std::make_unique<Gpt>(run.config.model, 0, DType::f32, device);
  std::vector<NamedTensor> tensors = named_parameters(*run.model);
  file.read_all(tensors, "opt/");
}

}  // namespace

std::unique_ptr<LoadedRun> load_run(const std::filesystem::path& path, Device device) {
  auto run = std::make_unique<LoadedRun>();
  const TensorFile file = open_checkpoint(path, run->path);
  file.verify();
  try {
    read_run(file, device, *run);
  } catch (const FormatError& error) {
    throw FormatError(error.what() + other_version(file.metadata()));
  }
  return run;
}

std::unique_ptr<Tokenizer> load_tokenizer(const LoadedRun& run) {
  const RunState& state = run.state;
  const std::filesystem::path path = run.path.folder / kTokenizerFile;
  const auto fail = [&](const std::string& what) {
    throw FormatError(fmt::format(
        "{} {}; put the run's own back, or let it be written anew from the data with\n  {}",
        path.string(), what, command_text("train --resume", run.path.folder.string())));
  };
  std::unique_ptr<Tokenizer> tokenizer;
  std::error_code error;
  if (std::filesystem::exists(path, error)) {
    try {
      tokenizer = Tokenizer::from_json(read_text(path));
    } catch (const FormatError& e) {
      fail(fmt::format("cannot be used: {}", e.what()));
    }
  }
  if (tokenizer && state.tokenizer_sha256 == "")
    throw FormatError(
        fmt::format("{} has nothing to do here, since the model was trained on tokens without "
                    "text; move it away",
                    path.string()));
  if (!tokenizer && state.tokenizer_sha256 && !state.tokenizer_sha256->empty())
    fail("is not there, and without it the model's tokens are no text");
  if (tokenizer &&
      (tokenizer->vocab_size() != state.vocab_size ||
       (state.tokenizer_sha256 && *state.tokenizer_sha256 != tokenizer_sha256(tokenizer.get()))))
    fail(fmt::format("({} tokens) is not the tokenizer that the model was trained with ({} tokens)",
                     tokenizer->vocab_size(), state.vocab_size));
  return tokenizer;
}

}  // namespace muonlab

#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "apps/train_config.h"
#include "core/checkpoint.h"
#include "data/tokenizer.h"
#include "nn/gpt.h"

namespace muonlab {

/// Where a run stands: what a checkpoint says beside its tensors. Tensors named "opt/..." are the
/// optimizer's, all others the model's.
struct RunState {
  std::int64_t step = 0;  ///< batches used
  std::int64_t updates =
      0;  ///< of them, those that changed the weights: skipped steps do not count
  std::int64_t state_from = 0;  ///< updates at which the optimizer's state was fresh
  std::string config;           ///< TrainConfig::text()
  std::int64_t vocab_size = 0;
  std::string corpus_sha256;
  /// Of Tokenizer::to_json; "": tokens without text; not there: an older version did not say.
  std::optional<std::string> tokenizer_sha256;
  std::optional<double> val_floor, source_entropy;  ///< of a corpus that knows them (data/corpus.h)
  std::optional<double> val_loss;                   ///< the latest one, in nats per token
  bool val_is_whole = false;            ///< of the whole validation split, not of the fixed subset
  std::optional<double> best_val_loss;  ///< lowest loss on the fixed subset so far
  double elapsed_s = 0;                 ///< training time up to here, over all resumptions

  /// The latest loss above the floor of the text it was measured on, if that is known.
  std::optional<double> above_floor() const;
};

Metadata to_metadata(const RunState& state);
/// Throws: FormatError naming `path` if the metadata are not those of a run's checkpoint.
RunState read_run_state(const Metadata& metadata, const std::filesystem::path& path);

/// "; the checkpoint was written by muonlab X, and this is Y", for the end of an error about a
/// checkpoint of another version; otherwise "".
std::string other_version(const Metadata& metadata);

/// What RunState::tokenizer_sha256 is for a tokenizer, or for none.
std::string tokenizer_sha256(const Tokenizer* tokenizer);

/// Handles on the model's parameters under their names.
std::vector<NamedTensor> named_parameters(const Gpt& model);

/// SHA-256 over the tensors in the order of their names: of each the name, a zero byte, and the raw
/// little-endian values. Equal weights give equal digests whatever else a checkpoint holds.
std::string weights_sha256(std::vector<NamedTensor> tensors);

/// A checkpoint of a run, or the newest one of a run folder.
struct RunPath {
  std::filesystem::path folder, checkpoint;
};
/// `path` is a run folder or a checkpoint file in one. Throws: IoError if there is nothing to read.
RunPath find_run(const std::filesystem::path& path);

/// A trained model with what is needed to use it.
struct LoadedRun {
  RunPath path;
  RunState state;
  TrainConfig config;
  std::unique_ptr<Gpt> model;
};
/// Loads the model of a checkpoint after checking the checksum; nothing but the run folder is read.
/// Throws: IoError, FormatError.
std::unique_ptr<LoadedRun> load_run(const std::filesystem::path& path, Device device = {});

/// The tokenizer of a run, or null for tokens without text. Throws: IoError, FormatError naming its
/// file if it is not the one that the checkpoint's model was trained with.
std::unique_ptr<Tokenizer> load_tokenizer(const LoadedRun& run);

}  // namespace muonlab

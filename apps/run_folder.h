#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "apps/files.h"
#include "core/checkpoint.h"

namespace muonlab {

// What a run folder holds.
inline constexpr const char* kConfigFile = "config.toml";  ///< written last: with it the run exists
inline constexpr const char* kRoutesFile = "routes.txt";
inline constexpr const char* kTokenizerFile = "tokenizer.json";
inline constexpr const char* kManifestFile = "manifest.json";
inline constexpr const char* kMetricsJson = "metrics.jsonl";
inline constexpr const char* kMetricsCsv = "metrics.csv";
inline constexpr const char* kCheckpoints = "checkpoints";  ///< the latest two and the best
inline constexpr const char* kCheckpointSuffix = ".safetensors";
inline constexpr const char* kBestCheckpoint = "best.safetensors";  ///< weights only

/// One line of the metrics; what was not measured at this step is empty.
struct MetricsRow {
  std::int64_t step = 0;
  std::optional<double> loss;            ///< of the step's batches, nats per token
  std::optional<double> val_loss;        ///< on the fixed subset of the validation split
  std::optional<double> val_loss_whole;  ///< on the whole split
  std::optional<double> lr, grad_norm, tokens_per_s, elapsed_s;
};

struct CheckpointFile {
  std::int64_t step = 0;
  std::filesystem::path path;
};
/// The step that the name of a numbered checkpoint says.
std::optional<std::int64_t> step_in_name(const std::filesystem::path& file);
/// The numbered checkpoints of a run folder, oldest first. Throws: IoError.
std::vector<CheckpointFile> list_checkpoints(const std::filesystem::path& folder);
/// The lines of a run's metrics; columns that this version does not know are left out.
/// Throws: IoError; FormatError if the file begins with no line of column names.
std::vector<MetricsRow> read_metrics(const std::filesystem::path& folder);

/// A run folder that this process writes. The folder itself carries the lock (flock), which the
/// operating system releases however the process ends.
class RunFolder {
 public:
  /// True if there is a run to go on with in this folder: its configuration, or a numbered
  /// checkpoint, which holds the configuration too.
  static bool holds_run(const std::filesystem::path& folder);
  /// Throws: ConfigError naming what the folder holds of a run, or of the user's own under a name
  /// that a run needs. What a start that was killed leaves behind does not count.
  static void require_no_run(const std::filesystem::path& folder);

  /// Makes and locks the folder. `force`: a run in it is deleted, which means the files named above
  /// and nothing else. Throws: ConfigError as require_no_run without `force`; IoError, also if
  /// another process writes here.
  static RunFolder create(const std::filesystem::path& folder, bool force);
  /// Locks the folder of an existing run. Throws: IoError.
  static RunFolder reopen(const std::filesystem::path& folder);

  const std::filesystem::path& path() const { return path_; }
  /// Writes one of the small files above, atomically. Throws: IoError.
  void save(const std::string& name, std::string_view text) const;

  /// Appends a line to both metrics files. Throws: IoError.
  void append(const MetricsRow& row);
  /// What rewind removed.
  struct Removed {
    std::vector<std::int64_t> checkpoints;  ///< their steps
    std::int64_t metrics = 0;               ///< lines
  };
  /// Removes what lies behind `step`: lines of the metrics, checkpoints, and what a killed process
  /// left half written. Throws: IoError; FormatError if the metrics have other columns than those
  /// that this version writes, and then nothing was removed.
  Removed rewind(std::int64_t step);

  /// Writes a numbered checkpoint, then removes all but the latest two. Throws: IoError; the
  /// checkpoints before are then still there.
  std::filesystem::path write_checkpoint(std::int64_t step, std::span<const NamedTensor> tensors,
                                         Metadata metadata) const;
  /// Replaces the checkpoint of the best model. Throws: IoError.
  void write_best(std::span<const NamedTensor> tensors, Metadata metadata) const;

 private:
  RunFolder(std::filesystem::path path, FileDescriptor lock);
  void open_metrics();

  std::filesystem::path path_;
  FileDescriptor lock_, json_, csv_;
};

}  // namespace muonlab

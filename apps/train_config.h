#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "apps/cli.h"
#include "core/backend.h"
#include "data/corpus.h"
#include "nn/config.h"
#include "optim/optimizer.h"

namespace muonlab {

/// The options of a run that are neither model, data nor optimizer.
struct RunConfig {
  std::string preset;
  std::int64_t steps = 2000;
  std::int64_t horizon = 0;  ///< updates over which the schedule runs; 0: as many as steps
  double time_limit = 0;     ///< seconds; 0: none
  std::int64_t batch = 12;
  std::int64_t grad_accum = 1;
  std::uint64_t seed = 1;
  std::int64_t threads = 0;  ///< 0: the cores of the machine
  std::string device = "auto";
  Precision precision = Precision::f32;
  std::int64_t eval_interval = 250;
  std::int64_t eval_batches = 20;
  std::int64_t checkpoint_interval = 250;
  std::int64_t log_interval = 10;
};
OptionTable options(RunConfig& config);
/// The device of these options, ready to compute. Throws: ConfigError, DeviceError.
Device open_device(const RunConfig& config);

/// Everything that decides how a run goes. Saved in the run folder, from which it reproduces the
/// run.
struct TrainConfig {
  RunConfig run;
  GptConfig model;
  DataConfig data;
  OptimizerConfig optimizer;

  /// All options by heading, bound to this object.
  std::vector<OptionGroup> groups();
  /// Sets the options from a preset, then a file, then flags; later ones win. Throws: ConfigError.
  void layer(std::span<const Assignment> file, std::span<const Assignment> flags);
  /// Fixes what depends on other values or on the current folder: the schedule's horizon, the path
  /// of the data. Call after layer(). Throws: ConfigError if steps would lie where the rate is 0.
  void resolve();
  std::string text() { return config_text(groups()); }
};

/// The options in which two configurations differ and that a run cannot change on the way, one
/// sentence each; empty if `now` may continue a run that `saved` began.
struct ResumeConflicts {
  std::vector<std::string> optimizer;  ///< also those of its rules and of the schedule
  std::vector<std::string> others;
};
ResumeConflicts resume_conflicts(TrainConfig& saved, TrainConfig& now);

}  // namespace muonlab

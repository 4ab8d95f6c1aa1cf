#pragma once

#include <cstdint>
#include <optional>

#include "apps/display.h"
#include "apps/run_folder.h"
#include "apps/run_state.h"
#include "apps/trainer.h"
#include "data/corpus.h"

namespace muonlab {

enum class Ending { finished, time_limit, interrupted };

/// A run from where its state stands to its end: steps, metrics, evaluation, checkpoints.
/// Evaluation and checkpoints read the model only, so that they do not change the bits of training.
class TrainingLoop {
 public:
  /// Keeps references to everything but `state`.
  TrainingLoop(const RunConfig& config, RunState state, const Gpt& model, Optimizer& optimizer,
               const Corpus& corpus, RunFolder& folder, Display& display);

  /// Runs to the last step, to the time limit, or to an interrupt; a checkpoint holds the result.
  /// The first two end with the loss on the whole validation split.
  /// Throws: DivergedError; IoError if the run folder cannot be written, which leaves the
  /// checkpoints before as they are.
  Ending run();

  const RunState& state() const { return state_; }
  /// Of the last step made by this process, or NaN.
  double train_loss() const { return train_loss_; }
  /// Mean over the steps made by this process, without evaluation and checkpoints; 0 if none.
  double tokens_per_s() const;
  /// From the start of the process to the start of its first step.
  std::optional<double> startup_s() const { return startup_s_; }

 private:
  using Clock = std::chrono::steady_clock;

  Ending run_to_end();
  void make_step();
  /// Measures the loss on the fixed subset and keeps the model if it is the best so far.
  void evaluate_subset(MetricsRow& row);
  /// Measures the loss on the whole split. False if interrupted.
  bool evaluate_whole(MetricsRow& row);
  void write_checkpoint();
  void require_finite(double val_loss) const;
  [[noreturn]] void diverged(const std::string& what, std::int64_t first_bad) const;
  double seconds() const;
  MetricsRow new_row() const;

  const RunConfig& config_;
  RunState state_;
  const Gpt& model_;
  Optimizer& optimizer_;
  RunFolder& folder_;
  Display& display_;
  Trainer trainer_;
  Evaluator subset_, whole_;

  Clock::time_point start_{};
  double elapsed_before_ = 0;  // by the processes before this one
  std::optional<double> startup_s_;
  std::int64_t tokens_per_step_;
  std::int64_t steps_made_ = 0;
  double step_s_ = 0;         // spent in steps
  double recent_step_s_ = 0;  // moving average
  double train_loss_;
  StepReport report_;
  int skipped_in_a_row_ = 0;
};

}  // namespace muonlab

#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "apps/train_config.h"
#include "core/error.h"
#include "core/rng.h"
#include "data/batch.h"
#include "nn/gpt.h"
#include "optim/optimizer.h"

namespace muonlab {

/// A model that has gone wrong for good (exit code 3): a weight, a loss or a prediction is not
/// finite, or no step in a row of ten had finite gradients.
struct DivergedError : Error {
  using Error::Error;
};

/// "the weights of X are not finite", of the first such parameter; else likewise of its gradient;
/// else a clause that says that all are finite.
std::string first_non_finite(const Gpt& model);
/// Throws: DivergedError naming `where` and the first parameter with a weight that is not finite.
void require_finite_weights(const Gpt& model, const std::string& where);

/// One batch per (step, micro-batch); a pure function, so that a run needs no reader state.
using BatchSource = std::function<Batch(std::int64_t step, std::int64_t micro)>;

/// A few batches of random tokens, used in turn, so that making them is not what is timed.
BatchSource random_batches(const GptConfig& model, const RunConfig& run);

/// What one step did.
struct StepResult {
  double loss = 0;         ///< mean over the micro-batches, nats per token
  StepReport optimizer;    ///< also `skipped` if the loss is not finite; `non_finite` is a clause
  double optimizer_s = 0;  ///< time of clipping and update
};

/// One label for each row of logits (..., V), drawn from their softmax; as i32 (...) on the CPU.
/// Logits that are not finite give some label.
Tensor draw_labels(const Tensor& logits, const Rng& rng);

/// Turns batches into updates of a model. What step k = 0, 1, ... does depends on the weights, the
/// optimizer's state and k alone, so that a run can go on from any checkpoint with the same bits:
/// micro-batch m takes the rows (k; m batch ... (m + 1) batch - 1), and its dropout masks have the
/// number k grad_accum + m. Rates follow the optimizer's own count of updates, which is k less the
/// steps that it skipped.
class Trainer {
 public:
  /// Keeps references to both. `seed` is that of the dropout masks.
  Trainer(const Gpt& model, Optimizer& optimizer, BatchSource batches, std::int64_t grad_accum,
          std::uint64_t seed);

  /// Forward and backward on each micro-batch of step `step`, then one update. If the loss or a
  /// gradient is not finite, nothing changes and the result says so.
  StepResult step(std::int64_t step);

 private:
  Forward forward(std::int64_t step, std::int64_t micro) const;
  /// Gradients on the first micro-batch against labels drawn from the model's own distribution.
  void sample_gradients(std::int64_t step);

  const Gpt& model_;
  Optimizer& optimizer_;
  BatchSource batches_;
  std::int64_t grad_accum_;
  std::uint64_t seed_;
};

/// Mean loss in nats per token over windows of a split, in file order, `batch` windows at a time.
class Evaluator {
 public:
  /// `batches`: how many batches to use, spread evenly over the split; 0: all windows. Tokens
  /// behind the last whole window are left out. Throws: ConfigError if the split is shorter than a
  /// window.
  Evaluator(Tokens split, std::int64_t block, std::int64_t batch, std::int64_t batches);

  /// Windows that evaluate() uses, and the tokens that they predict.
  std::int64_t windows() const;
  std::int64_t tokens() const { return windows() * block_; }
  /// Reads the model only. Stops early if `stop` becomes true, and then returns NaN.
  double evaluate(
      const Gpt& model, const std::function<bool()>& stop = [] { return false; }) const;

 private:
  /// First window of each batch; all batches but the last have the same number of windows.
  struct Part {
    std::int64_t first, count;
  };
  Tokens split_;
  std::int64_t block_;
  std::vector<Part> parts_;
};

}  // namespace muonlab

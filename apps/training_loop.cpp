#include "apps/training_loop.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <utility>

#include "apps/commands.h"
#include "apps/interrupt.h"
#include "apps/machine.h"

namespace muonlab {
namespace {

const char* describe(double not_finite) {
  return std::isnan(not_finite) ? "not a number" : "infinite";
}

constexpr int kMostSkipped = 10;  // steps in a row without finite gradients

BatchSource training_batches(const Corpus& corpus, const RunConfig& run, std::int64_t block) {
  return [tokens = corpus.train, batch = run.batch, block, seed = run.seed](std::int64_t step,
                                                                            std::int64_t micro) {
    return training_batch(tokens, batch, block, seed, step, micro);
  };
}

}  // namespace

TrainingLoop::TrainingLoop(const RunConfig& config, RunState state, const Gpt& model,
                           Optimizer& optimizer, const Corpus& corpus, RunFolder& folder,
                           Display& display)
    : config_(config),
      state_(std::move(state)),
      model_(model),
      optimizer_(optimizer),
      folder_(folder),
      display_(display),
      trainer_(model, optimizer, training_batches(corpus, config, model.config.block_size),
               config.grad_accum, config.seed),
      subset_(corpus.val, model.config.block_size, config.batch, config.eval_batches),
      whole_(corpus.val, model.config.block_size, config.batch, 0),
      elapsed_before_(state_.elapsed_s),
      tokens_per_step_(config.batch * config.grad_accum * model.config.block_size),
      train_loss_(std::numeric_limits<double>::quiet_NaN()) {}

Ending TrainingLoop::run() {
  start_ = Clock::now();
  const auto and_how_to_go_on = [&](const Error& error) {
    const auto kept = list_checkpoints(folder_.path());
    return fmt::format(
        "step {}: {}; {}", state_.step, error.what(),
        kept.empty()
            ? std::string("no checkpoint was written before")
            : fmt::format(
                  "the checkpoint of step {} is whole, so when this is mended go on with\n  {}",
                  kept.back().step, command_text("train --resume", folder_.path().string())));
  };
  try {
    return run_to_end();
  } catch (const IoError& error) {
    throw IoError(and_how_to_go_on(error));
  } catch (const DeviceError& error) {
    throw DeviceError(and_how_to_go_on(error));
  }
}

Ending TrainingLoop::run_to_end() {
  if (state_.step >= config_.steps) {  // only the last evaluation may be missing
    MetricsRow row = new_row();
    if (!state_.val_is_whole) {
      if (!evaluate_whole(row)) return Ending::interrupted;
      folder_.append(row);
      write_checkpoint();
    }
    return Ending::finished;
  }
  for (;;) {
    make_step();
    const bool stop = interrupted();
    const bool out_of_time = config_.time_limit > 0 && seconds() >= config_.time_limit;
    const bool last = !stop && (state_.step >= config_.steps || out_of_time);
    const auto due = [&](std::int64_t interval) {
      return interval > 0 && state_.step % interval == 0;
    };

    MetricsRow row = new_row();
    row.loss = train_loss_;
    row.lr = report_.lr;
    row.grad_norm = report_.grad_norm;
    row.tokens_per_s = static_cast<double>(tokens_per_step_) / recent_step_s_;
    bool complete = true;
    if (last || due(config_.eval_interval)) evaluate_subset(row);
    if (last) complete = evaluate_whole(row);
    if (last || row.val_loss || due(config_.log_interval)) folder_.append(row);
    state_.elapsed_s = elapsed_before_ + seconds();
    // Checkpoints of steps that were skipped would push out the last good one.
    const bool sound = skipped_in_a_row_ == 0;
    if (last || stop || (sound && due(config_.checkpoint_interval))) write_checkpoint();

    const double steps_left_s = recent_step_s_ * static_cast<double>(config_.steps - state_.step);
    const double time_left_s =
        config_.time_limit > 0 ? config_.time_limit - seconds() : steps_left_s;
    const Progress progress{state_.step, config_.steps,     train_loss_,
                            report_.lr,  *row.tokens_per_s, std::min(steps_left_s, time_left_s)};
    if (display_.live())
      display_.progress(progress);
    else if (due(config_.log_interval) || last || stop)
      display_.say(progress_line(progress, std::numeric_limits<int>::max()));

    if (stop || !complete) return Ending::interrupted;
    if (last)
      return out_of_time && state_.step < config_.steps ? Ending::time_limit : Ending::finished;
  }
}

void TrainingLoop::make_step() {
  if (!startup_s_) startup_s_ = process_age();
  const Clock::time_point begin = Clock::now();
  const StepResult result = trainer_.step(state_.step);
  const double spent = std::chrono::duration<double>(Clock::now() - begin).count();
  ++steps_made_;
  step_s_ += spent;
  recent_step_s_ = steps_made_ == 1 ? spent : recent_step_s_ + 0.1 * (spent - recent_step_s_);
  train_loss_ = result.loss;
  report_ = result.optimizer;

  if (!std::isfinite(result.loss))
    diverged(fmt::format("the loss of step {} is {}; {}", state_.step + 1, describe(result.loss),
                         report_.non_finite),
             state_.step);
  if (report_.skipped) {
    if (++skipped_in_a_row_ == kMostSkipped)
      diverged(fmt::format("{} steps in a row were skipped, up to step {}; {}", kMostSkipped,
                           state_.step + 1, report_.non_finite),
               state_.step + 1 - kMostSkipped);
    display_.warn(fmt::format("step {} was skipped: {}", state_.step + 1, report_.non_finite));
  } else {
    skipped_in_a_row_ = 0;
  }
  ++state_.step;
  state_.updates = optimizer_.steps_done();
  if (state_.val_is_whole) {  // a finished run goes on: the subset is what counts again
    state_.val_loss.reset();
    state_.val_is_whole = false;
  }
}

void TrainingLoop::evaluate_subset(MetricsRow& row) {
  const EvalWeights shown(optimizer_);
  const double loss = subset_.evaluate(model_);
  require_finite(loss);
  row.val_loss = state_.val_loss = loss;
  const bool best = !state_.best_val_loss || loss < *state_.best_val_loss;
  display_.say(fmt::format("step {:<7} validation loss {:.4f}{}", state_.step, loss,
                           best ? "" : fmt::format("  (best {:.4f})", *state_.best_val_loss)));
  if (!best) return;
  state_.best_val_loss = loss;
  state_.elapsed_s = elapsed_before_ + seconds();
  folder_.write_best(named_parameters(model_), to_metadata(state_));
}

bool TrainingLoop::evaluate_whole(MetricsRow& row) {
  const EvalWeights shown(optimizer_);
  const double loss = whole_.evaluate(model_, interrupted);
  if (interrupted()) return false;
  require_finite(loss);
  row.val_loss_whole = state_.val_loss = loss;
  state_.val_is_whole = true;
  return true;
}

void TrainingLoop::write_checkpoint() {
  const EvalWeights shown(optimizer_);  // those that sample and eval are to use
  std::vector<NamedTensor> tensors = named_parameters(model_);
  for (NamedTensor& tensor : optimizer_.state()) tensors.push_back(std::move(tensor));
  folder_.write_checkpoint(state_.step, tensors, to_metadata(state_));
}

void TrainingLoop::require_finite(double val_loss) const {
  if (!std::isfinite(val_loss))
    diverged(fmt::format("the validation loss after step {} is {}; {}", state_.step,
                         describe(val_loss), first_non_finite(model_)),
             state_.step);
}

void TrainingLoop::diverged(const std::string& what, std::int64_t first_bad) const {
  std::string good = "no checkpoint was written before";
  for (const CheckpointFile& file : list_checkpoints(folder_.path()))
    if (file.step < first_bad)
      good = fmt::format("the last good checkpoint is {} (step {})", file.path.string(), file.step);
  throw DivergedError(
      fmt::format("{}; {}; a lower --lr or a longer --warmup may help", what, good));
}

double TrainingLoop::tokens_per_s() const {
  return step_s_ > 0 ? static_cast<double>(steps_made_ * tokens_per_step_) / step_s_ : 0;
}

double TrainingLoop::seconds() const {
  return std::chrono::duration<double>(Clock::now() - start_).count();
}

MetricsRow TrainingLoop::new_row() const {
  MetricsRow row;
  row.step = state_.step;
  row.elapsed_s = elapsed_before_ + seconds();
  return row;
}

}  // namespace muonlab

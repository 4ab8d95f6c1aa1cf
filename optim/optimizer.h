#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/checkpoint.h"
#include "core/param.h"
#include "optim/config.h"
#include "optim/routing.h"

namespace muonlab {

/// What one step did.
struct StepReport {
  double grad_norm = 0;    ///< global, before clipping
  double lr = 0;           ///< rate of the main rule
  bool skipped = false;    ///< the gradient norm was not finite; nothing was changed
  std::string non_finite;  ///< then: the first parameter with a non-finite gradient
};

/// Updates parameters from their gradients. Everything that is not particular to one rule is here.
class Optimizer {
 public:
  /// Routes the parameters and makes fresh state. Throws: ConfigError.
  Optimizer(std::vector<Parameter> params, OptimizerConfig config);
  ~Optimizer();
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  /// One update: clips by the global norm, asks the rules for directions, decays and applies. If
  /// the norm is not finite, nothing changes and the report says so. Writes: values and state.
  /// Gradients are left as they are (clipping is a factor). Throws: Error if a parameter has no
  /// gradient; ConfigError if take_sampled is due.
  StepReport step();
  void zero_grad();

  /// Whether a rule needs take_sampled before the next step.
  bool wants_sampled() const;
  /// Hands the gradients that are there to such rules as those of the mean loss against `tokens`
  /// labels drawn from the model's own distribution; without effect if one is not finite. Call
  /// zero_grad behind it. Writes: state.
  void take_sampled(std::int64_t tokens);

  std::int64_t steps_done() const { return steps_done_; }
  const std::vector<Route>& routes() const { return routes_; }
  const OptimizerConfig& config() const { return config_; }
  /// Handles on everything that is kept from step to step: tensors named "opt/<param>/<state>",
  /// numbers "opt/<rule>.<number>", and while EvalWeights lives "opt/<param>/training". To restore,
  /// read into them and call set_steps_done.
  std::vector<NamedTensor> state() const;
  /// `state_from`: how many steps were done when the state was fresh. Rules count from there, the
  /// schedule from 0.
  void set_steps_done(std::int64_t steps, std::int64_t state_from = 0);
  /// Makes fresh state for the weights that are there. Call set_steps_done behind it.
  void reset_state();

 private:
  friend class EvalWeights;
  struct Member;
  struct Group;
  struct Family;

  /// Gives options on a ramp their values for the next update.
  void follow_ramps();
  void require_same_state(const std::string& option) const;
  /// Throws: Error if one is missing.
  std::vector<Tensor> gradients() const;

  std::vector<Parameter> params_;
  OptimizerConfig config_;
  std::vector<Route> routes_;
  std::vector<Family> families_;
  std::vector<std::pair<Ramp, std::function<void(double)>>> ramps_;
  std::int64_t steps_done_ = 0, state_from_ = 0;
  bool sampled_ = false;  // for the next step
};

/// While it lives, the parameters hold the weights to evaluate, sample and save, which some rules
/// (schedule-free) keep beside those at which gradients are taken; these come back with the same
/// bits. A restored checkpoint is read while it lives.
class EvalWeights {
 public:
  explicit EvalWeights(Optimizer& optimizer);
  ~EvalWeights();
  EvalWeights(const EvalWeights&) = delete;
  EvalWeights& operator=(const EvalWeights&) = delete;

 private:
  Optimizer& optimizer_;
};

/// Gives the parameters of a new run the first values of rules that have an initialisation of their
/// own. Call before the Optimizer is made. Writes: values.
void initialise(std::span<Parameter> params, const OptimizerConfig& config);

}  // namespace muonlab

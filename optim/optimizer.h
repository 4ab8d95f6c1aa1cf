#pragma once

#include <cstdint>
#include <string>
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
  /// Routes the parameters and makes zero state. Throws: ConfigError.
  Optimizer(std::vector<Parameter> params, OptimizerConfig config);
  ~Optimizer();
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  /// One update: clips by the global norm, asks the rules for directions, decays and applies. If
  /// the norm is not finite, nothing changes and the report says so. Writes: values and state.
  /// Gradients are left as they are (clipping is a factor). Throws: Error if a parameter has no
  /// gradient.
  StepReport step();
  void zero_grad();

  std::int64_t steps_done() const { return steps_done_; }
  const std::vector<Route>& routes() const { return routes_; }
  const OptimizerConfig& config() const { return config_; }
  /// Handles on every state tensor, named "opt/<param>/<state>". To restore, read into them and
  /// call set_steps_done.
  std::vector<NamedTensor> state() const;
  void set_steps_done(std::int64_t steps) { steps_done_ = steps; }

 private:
  struct Member;
  struct Group;

  std::vector<Parameter> params_;
  OptimizerConfig config_;
  std::vector<Route> routes_;
  std::vector<Group> groups_;
  std::int64_t steps_done_ = 0;
};

}  // namespace muonlab

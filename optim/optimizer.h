#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/checkpoint.h"
#include "core/options.h"
#include "core/param.h"
#include "optim/rule.h"
#include "optim/schedule.h"

namespace muonlab {

/// The optimizer of a run: a rule for the matrices, a rule for the rest, and what is common to all.
/// `options(OptimizerConfig&)` lists "optimizer", "aux", "lr", "aux_lr", "weight_decay", "grad_clip",
/// the schedule, and the options of every rule as "<rule>.<option>".
class OptimizerConfig {
 public:
  OptimizerConfig();
  ~OptimizerConfig();
  OptimizerConfig(OptimizerConfig&&) noexcept;
  OptimizerConfig& operator=(OptimizerConfig&&) noexcept;

  std::string optimizer = "adamw";
  std::string aux = "adamw";  ///< rule of the parameters that a matrix rule does not take
  double lr = 1e-3;           ///< peak rate of `optimizer`
  double aux_lr = 1e-3;       ///< peak rate of `aux`
  double weight_decay = 0.1;  ///< decoupled; on tensors of rank >= 2 only
  double grad_clip = 1.0;     ///< largest global gradient norm; 0: no clipping
  Schedule schedule;

  /// The one instance of each rule, whose members hold its options.
  Rule& rule(const std::string& name) const;

 private:
  std::map<std::string, std::unique_ptr<Rule>> rules_;
};
OptionTable options(OptimizerConfig& config);

/// One row of the routing table: which parameter goes to which rule, and why.
struct Route {
  std::string param;
  std::string rule;
  ParamKind kind = ParamKind::matrix;
  Shape shape;
  std::string seen_as;  ///< the shape as the rule sees it: "3 x (128, 128)"
  double lr = 0;        ///< peak rate
  double decay = 0;
  std::string reason;   ///< in words: "packed q, k, v: three blocks"
};

/// Pure function of parameters and configuration: no optimizer is needed to print the table.
/// Throws: ConfigError if a parameter has no route.
std::vector<Route> route(std::span<const Parameter> params, const OptimizerConfig& config);
/// The table as aligned text, one line a row, with a header.
std::string to_string(std::span<const Route> routes);

/// What one step did.
struct StepReport {
  double grad_norm = 0;    ///< global, before clipping
  double lr = 0;           ///< rate of the main rule
  bool skipped = false;    ///< the gradient norm was not finite; nothing was changed
  std::string non_finite;  ///< then: the first parameter with a non-finite gradient
};

class Optimizer {
 public:
  /// Routes the parameters and makes zero state. Throws: ConfigError.
  Optimizer(std::vector<Parameter> params, OptimizerConfig config);
  ~Optimizer();

  /// One update from the parameters' gradients: clip by global norm, rules, decay, apply.
  /// Writes: values and state. Gradients are left as they are (clipping is a factor).
  /// Throws: Error if a parameter has no gradient.
  StepReport step();
  void zero_grad();

  std::int64_t steps_done() const { return steps_done_; }
  const std::vector<Route>& routes() const { return routes_; }
  const OptimizerConfig& config() const { return config_; }
  /// Handles on every state tensor, named "opt/<param>/<state>". To restore, read into them and call
  /// set_steps_done.
  std::vector<NamedTensor> state() const;
  void set_steps_done(std::int64_t steps) { steps_done_ = steps; }

 private:
  struct Group;
  std::vector<Parameter> params_;
  OptimizerConfig config_;
  std::vector<Route> routes_;
  std::vector<Group> groups_;
  std::int64_t steps_done_ = 0;
};

}  // namespace muonlab

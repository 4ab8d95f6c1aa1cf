#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/options.h"
#include "optim/rule.h"
#include "optim/schedule.h"

namespace muonlab {

/// The optimizer of a run: the main rule, an auxiliary rule for the kinds of parameters that the
/// main one is not made for, and what is common to all.
class OptimizerConfig {
 public:
  OptimizerConfig();
  ~OptimizerConfig();
  OptimizerConfig(OptimizerConfig&&) noexcept;
  OptimizerConfig& operator=(OptimizerConfig&&) noexcept;

  std::string optimizer = "adamw";
  std::string aux = "adamw";
  std::string route;            ///< patterns that come before the kinds, see parse_routes
  double lr = 1e-3;             ///< peak rate of `optimizer`
  double aux_lr = 1e-3;         ///< peak rate of `aux`
  double weight_decay = 0.1;    ///< decoupled; on tensors of rank >= 2 only
  double grad_clip = 1.0;       ///< largest global gradient norm; 0: no clipping
  bool cautious = false;        ///< keep of a direction what agrees with the gradient
  bool cautious_decay = false;  ///< decay only weights that the direction does not make larger
  Schedule schedule;

  /// Makes a rule available under a name, beside those in the registry.
  void add_rule(const std::string& name, std::unique_ptr<Rule> rule);
  /// All names, sorted.
  std::vector<std::string> rule_names() const;
  /// The one instance of each rule, whose members hold its options. Throws: ConfigError.
  Rule& rule(const std::string& name) const;

  /// The options that are on their way from one value to another.
  std::map<std::string, Ramp> ramps;

 private:
  std::map<std::string, std::unique_ptr<Rule>> rules_;
};

/// Whether the rule leaves nothing for an auxiliary one, and may be one.
bool takes_all(const Rule& rule);

/// Lists "optimizer", "aux", "route", "lr", "aux_lr", "weight_decay", "grad_clip", the schedule's
/// options, and those of every rule as "<rule>.<option>". Numbers but those of the learning rate
/// also take a ramp: "0.85->0.95 over 300".
OptionTable options(OptimizerConfig& config);

/// Why setting `option` would change nothing in this configuration, as the end of a sentence
/// ("no parameter goes to muon"); "" if it does change something.
std::string why_unused(const OptimizerConfig& config, const std::string& option);

}  // namespace muonlab

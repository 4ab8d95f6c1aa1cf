#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/options.h"
#include "core/param.h"

namespace muonlab {

/// What the driver tells a rule about the current step.
struct StepInfo {
  std::int64_t t = 1;  ///< number of this update, from 1
  double lr = 0;       ///< rate of this update, after the schedule
};

/// One parameter as a rule sees it. The gradient is that of the mean token loss, after global
/// clipping. A rule reads w and g, updates `state`, and assigns u; the driver then applies
/// w = w - lr (u + decay w). So no rule can forget the decay, flip a sign or overwrite a gradient.
struct Slot {
  const ParamInfo* info = nullptr;
  Tensor w, g;
  std::vector<Tensor> state;  ///< in the order of Rule::state_names
  Tensor u;                   ///< the direction, to be assigned; its elements are undefined before
};

/// An update rule: computes the direction u from the gradient and its own state.
class Rule {
 public:
  virtual ~Rule() = default;
  /// Options bound to this rule's own members, named in full: "muon.momentum".
  virtual OptionTable options() = 0;
  /// Literal names of the state tensors, each of the parameter's shape, zero at the start.
  virtual std::vector<std::string> state_names() const = 0;
  /// True if every element is computed from the same element of w, g and state alone. The driver
  /// then hands the rule flat slices that fit in the cache, from several threads at once.
  virtual bool elementwise() const { return true; }
  /// Whether the rule is made for this kind of parameter. What the main rule does not take goes to
  /// the auxiliary one.
  virtual bool takes(ParamKind) const { return true; }
  /// The parameter as this rule sees it, for the routing table: "3 x (128, 128)".
  /// Throws: ConfigError for a parameter that this rule cannot work on.
  virtual std::string seen_as(const ParamInfo& info) const { return info.shape.str(); }
  /// Assigns u of every slot.
  virtual void direction(const StepInfo& step, std::span<Slot> slots) const = 0;
};

/// A rule by name ("adamw", "sgd", "muon"). Throws: ConfigError naming the nearest rule.
std::unique_ptr<Rule> make_rule(const std::string& name);
/// All names in the registry, sorted.
std::vector<std::string> rule_names();

}  // namespace muonlab

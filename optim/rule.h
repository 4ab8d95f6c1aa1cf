#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/elementwise.h"
#include "core/options.h"
#include "core/param.h"

namespace muonlab {

/// What the driver tells a rule about the current step.
struct StepInfo {
  std::int64_t t = 1;             ///< number of this update, from 1
  double lr = 0;                  ///< rate of this update, after the schedule; may be 0
  std::vector<double> numbers{};  ///< the rule's own, in the order of Rule::numbers
  std::int64_t tokens = 0;        ///< in `observe`: how many labels were sampled
};

/// One tensor that a rule keeps for a parameter from step to step; it is saved by name.
struct StateSpec {
  enum class Start : std::uint8_t { zero, weight, normal };
  std::string name;
  std::optional<Shape> shape{};  ///< none: the parameter's, as an elementwise rule's must be
  Start start = Start::zero;     ///< weight: a copy of the parameter's first value; normal: random,
                                 ///< by the names of parameter and state
};

/// One number that a rule keeps for all of its parameters together; it is saved by name.
struct NumberSpec {
  std::string name;
  double start = 0;
};

/// One element of a parameter as an elementwise rule sees it. The gradient is that of the mean
/// token loss, after global clipping. A rule assigns new values to the state.
struct Lanes {
  const Lane w, g;
  std::vector<Lane> state;  ///< in the order of Rule::state
  const Lane decay = 0.0;   ///< for rules that apply it themselves
};

/// One parameter as a matrix rule sees it. The rule reads w and g, updates `state`, and assigns u.
struct Slot {
  const ParamInfo* info = nullptr;
  Tensor w, g;
  std::vector<Tensor> state;  ///< in the order of Rule::state
  Tensor u;                   ///< the direction, to be assigned; its elements are undefined before
  double decay = 0;           ///< for rules that apply it themselves
};

/// An update rule: computes the direction u from the gradient and its own state. The driver then
/// applies w = w - lr (u + decay w), so no rule can forget the decay, flip a sign or overwrite a
/// gradient. A rule is an ElementwiseRule or a MatrixRule. Options may follow a schedule: the
/// driver sets the members before each step, so a rule keeps nothing that was derived from them.
class Rule {
 public:
  virtual ~Rule() = default;
  /// Options bound to this rule's own members, named in full: "muon.momentum".
  virtual OptionTable options() = 0;
  /// The state tensors of a parameter, in the order in which the rule sees them. The same names for
  /// every parameter.
  virtual std::vector<StateSpec> state(const ParamInfo& info) const = 0;
  /// Whether the rule is made for this kind of parameter. What the main rule does not take goes to
  /// the auxiliary one.
  virtual bool takes(ParamKind) const { return true; }
  /// The parameter as this rule sees it, for the routing table: "3 x (128, 128)".
  /// Throws: ConfigError for a parameter that this rule cannot work on.
  virtual std::string seen_as(const ParamInfo& info) const { return info.shape.str(); }
  /// What the options do badly to this parameter, as a sentence for the routing table; "": nothing.
  virtual std::string warning(const ParamInfo&) const { return ""; }

  /// Why setting one of the rule's options would change nothing beside the others that are set, as
  /// the end of a sentence; "": it changes something.
  virtual std::string unused(const std::string& /*option*/) const { return ""; }

  /// Whether `direction` puts the decay into u itself, where w = w - lr decay w is not the rule's.
  virtual bool decays() const { return false; }
  /// Whether no element of u has another sign than the gradient's.
  virtual bool follows_signs() const { return false; }
  /// Gives a parameter of a new run its first value, for rules with an initialisation of their own.
  /// `w` holds the layer's.
  virtual void initialise(const ParamInfo&, Tensor& /*w*/) const {}
  virtual std::vector<NumberSpec> numbers() const { return {}; }
  /// The numbers for this step, from those of the step before (step.numbers) and the sums of
  /// ElementwiseRule::terms over all elements of all of the rule's parameters. Called once a step,
  /// before `direction`, which sees the new ones; step.lr is the rate of the rule's first
  /// parameter.
  virtual std::vector<double> next_numbers(const StepInfo& step,
                                           std::span<const double> /*sums*/) const {
    return step.numbers;
  }
  /// Updates between two calls of ElementwiseRule::observe, the first before update 1; 0: none.
  virtual std::int64_t sampling_interval() const { return 0; }
};

/// Every element of u follows from the same element of w, g and state alone. The driver makes one
/// program of it, with clipping, decay and the update itself, and runs it over all parameters in
/// one pass.
class ElementwiseRule : public Rule {
 public:
  virtual Lane direction(const StepInfo& step, Lanes& p) const = 0;
  /// What next_numbers needs the sums of. Runs before `direction`, and may assign state as it does.
  virtual std::vector<Lane> terms(const StepInfo&, Lanes&) const { return {}; }
  /// Updates the state from a gradient p.g, unclipped, of the mean loss against step.tokens labels
  /// that were drawn from the model's own distribution (Gauss-Newton-Bartlett).
  virtual void observe(const StepInfo&, Lanes&) const {}
  /// The weight to evaluate, sample and keep, where it is another one than w, at which gradients
  /// are taken. Reads w and the state.
  virtual std::optional<Lane> evaluated(const Lanes&) const { return std::nullopt; }
};

/// u follows from the whole of a parameter.
class MatrixRule : public Rule {
 public:
  /// Assigns u of every slot.
  virtual void direction(const StepInfo& step, std::span<Slot> slots) const = 0;
};

/// For the elementwise part of a matrix rule: assigns to u of every slot what f returns for its
/// elements, and to the state what f assigned, in one pass. f sees the first `states` tensors of
/// the state, at most all of them, which must have the parameter's shape.
void for_elements(std::span<Slot> slots, const std::function<Lane(Lanes&)>& f,
                  std::size_t states = SIZE_MAX);

/// A rule by name ("adamw", "sgd", "muon"). Throws: ConfigError naming the nearest rule.
std::unique_ptr<Rule> make_rule(const std::string& name);
/// All names in the registry, sorted.
std::vector<std::string> rule_names();

}  // namespace muonlab

#include "optim/optimizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

#include "core/error.h"
#include "core/math.h"
#include "core/rng.h"

namespace muonlab {
namespace {

// Elements of parameters that are worked on at once where directions or terms are kept: bounds the
// memory for these and for what a rule needs beside them.
constexpr std::int64_t kBatch = std::int64_t{1} << 21;

Tensor like(const Tensor& t) { return Tensor::empty(t.shape(), t.dtype(), t.device()); }

Tensor first_value(const StateSpec& spec, const ParamInfo& info, const Tensor& w) {
  if (spec.start == StateSpec::Start::weight) return w.clone();
  const Shape shape = spec.shape.value_or(w.shape());
  if (spec.start == StateSpec::Start::zero) return Tensor::zeros(shape, w.dtype(), w.device());
  const Rng rng(0, RngPurpose::state, stream_of((info.name + '/' + spec.name).c_str()));
  Tensor t = Tensor::empty(shape, w.dtype());
  if (w.dtype() == DType::f32) {
    rng.fill_normal(t.host<float>(), 1);
  } else {
    std::uint64_t i = 0;
    for (double& x : t.host<double>()) x = rng.normal(i++);
  }
  return t.to(w.device());
}

/// Column numbers of a program on the elements of a parameter; behind the state comes what a pass
/// needs beside it.
enum : int { kW, kG, kState };
enum : int { kDecay };  // scalars

/// The program of `body`, which works on lanes and may store to columns from the given one on.
template <class F>
ElementProgram written(std::size_t states, double grad_factor, const F& body) {
  ElementwiseBuilder program;
  Lanes p{program.column(kW), program.column(kG) * grad_factor, {}, program.scalar(kDecay)};
  const auto behind = kState + static_cast<int>(states);
  for (int k = kState; k < behind; ++k) p.state.push_back(program.column(k));
  body(program, p, behind);
  for (int k = kState; k < behind; ++k) {
    const Lane& value = p.state[static_cast<std::size_t>(k - kState)];
    if (!ElementwiseBuilder::is_column(value, k)) program.store(k, value);
  }
  return program.program();
}

/// 1 where a and b have the same sign and neither is 0, else 0.
Lane agree(const Lane& a, const Lane& b) { return max(sign(a) * sign(b), 0.0); }

/// w - lr (u + decay w). `cautious`: decay only what u does not push away from 0.
/// Paper: Chen et al. 2025, "Cautious weight decay".
Lane updated(const Lane& w, const Lane& u, const Lane& lr, Lane decay, bool cautious) {
  if (cautious) decay = decay * (1.0 - agree(u, -w));
  return w - lr * (u + decay * w);
}

/// Keeps of each direction what agrees with the gradient, and makes it longer by what is lost: each
/// alpha is one over the share that is kept, at most 1000 as in the authors' code. Writes: u.
/// Paper: Liang et al. 2024, "Cautious optimizers", algorithm 1.
std::vector<double> keep_agreeing(std::span<const Slot> slots) {
  enum : int { kU, kGradient, kMask };
  ElementwiseBuilder program;
  const Lane mask = agree(program.column(kU), program.column(kGradient));
  program.store(kMask, mask);
  program.store(kU, program.column(kU) * mask);
  std::vector<ElementRow> rows;
  std::vector<Tensor> masks;
  for (const Slot& s : slots) {
    masks.push_back(like(s.u));
    rows.push_back({{s.u, s.g, masks.back()}});
  }
  math::elementwise(program.program(), rows);
  std::vector<double> alpha = math::sum_squares(masks);
  for (std::size_t i = 0; i < alpha.size(); ++i)
    alpha[i] = 1 / std::max(alpha[i] / static_cast<double>(masks[i].numel()), 1e-3);
  return alpha;
}

/// The update of w by u.
void apply(std::span<const Slot> slots, double lr, const Rule& rule,
           const OptimizerConfig& config) {
  const bool cautious = config.cautious && !rule.follows_signs();
  enum : int { kWeight, kU };
  enum : int { kDecayOfSlot, kAlpha };
  std::vector<double> alpha(slots.size(), 1);
  if (cautious) alpha = keep_agreeing(slots);
  ElementwiseBuilder program;
  Lane u = program.column(kU);
  if (cautious) u = program.scalar(kAlpha) * u;
  program.store(kWeight, updated(program.column(kWeight), u, lr, program.scalar(kDecayOfSlot),
                                 config.cautious_decay));
  std::vector<ElementRow> rows;
  for (std::size_t i = 0; i < slots.size(); ++i)
    rows.push_back({{slots[i].w, slots[i].u}, {rule.decays() ? 0 : slots[i].decay, alpha[i]}});
  math::elementwise(program.program(), rows);
}

}  // namespace

struct Optimizer::Member {
  Parameter* param;
  double decay_factor;
  std::vector<Tensor> state;
  Tensor training{};  // while EvalWeights lives, if the weights to evaluate are others
};

// The parameters of one rule and rate.
struct Optimizer::Group {
  double lr;  // peak
  std::vector<Member> members{};

  static std::vector<ElementRow> rows(std::span<const Member> members, double decay) {
    std::vector<ElementRow> list;
    for (const Member& m : members) {
      list.push_back({{m.param->value(), m.param->grad()}, {decay * m.decay_factor}});
      list.back().columns.insert(list.back().columns.end(), m.state.begin(), m.state.end());
    }
    return list;
  }
  /// Calls f on all members, so many at a time that kBatch bounds their elements.
  template <class F>
  void in_batches(const F& f) const {
    for (auto first = members.begin(); first != members.end();) {
      const auto begin = first;
      std::int64_t size = 0;
      do size += (first++)->param->value().numel();
      while (first != members.end() && size + first->param->value().numel() <= kBatch);
      f(std::span(begin, first));
    }
  }
};

// One rule, with everything that it updates.
struct Optimizer::Family {
  std::string name;
  const Rule* rule;
  Tensor numbers;  // f64, on the CPU
  std::vector<Group> groups{};

  std::size_t states() const { return groups.front().members.front().state.size(); }
  void step(StepInfo info, double rate, double grad_factor, const OptimizerConfig& config);
  std::vector<double> sums(const ElementwiseRule& r, StepInfo info, double rate, double grad_factor,
                           double decay) const;
};

Optimizer::Optimizer(std::vector<Parameter> params, OptimizerConfig config)
    : params_(std::move(params)), config_(std::move(config)), routes_(route(params_, config_)) {
  for (std::size_t i = 0; i < params_.size(); ++i) {
    const Route& r = routes_[i];
    auto family = std::find_if(families_.begin(), families_.end(),
                               [&](const Family& f) { return f.name == r.rule; });
    if (family == families_.end()) {
      family = families_.insert(family, {r.rule, &config_.rule(r.rule), {}});
    }
    auto group = std::find_if(family->groups.begin(), family->groups.end(),
                              [&](const Group& g) { return g.lr == r.lr; });
    if (group == family->groups.end()) group = family->groups.insert(group, {r.lr});
    group->members.push_back({&params_[i], r.decay_factor, {}});
  }
  reset_state();
  for (const Option& option : options(config_)) {
    const auto ramp = config_.ramps.find(option.name);
    if (ramp == config_.ramps.end()) continue;
    option.put(ramp->second.to);
    require_same_state(option.name);
    ramps_.emplace_back(ramp->second, option.put);
  }
  follow_ramps();
}

Optimizer::~Optimizer() = default;

void Optimizer::require_same_state(const std::string& option) const {
  for (const Family& family : families_)
    for (const Group& group : family.groups)
      for (const Member& m : group.members) {
        const std::vector<StateSpec> specs = family.rule->state(m.param->info);
        bool same = specs.size() == m.state.size();
        for (std::size_t k = 0; same && k < specs.size(); ++k)
          same = specs[k].shape.value_or(m.param->info.shape) == m.state[k].shape();
        if (!same)
          throw ConfigError(fmt::format(
              "--{} decides what {} keeps from update to update, so it must be one number for the "
              "whole run",
              option, family.name));
      }
}

void Optimizer::follow_ramps() {
  for (const auto& [ramp, put] : ramps_) put(ramp.at(steps_done_));
}

void Optimizer::set_steps_done(std::int64_t steps, std::int64_t state_from) {
  steps_done_ = steps;
  state_from_ = state_from;
  follow_ramps();
}

void Optimizer::reset_state() {
  for (Family& family : families_) {
    std::vector<double> start;
    for (const NumberSpec& spec : family.rule->numbers()) start.push_back(spec.start);
    family.numbers = Tensor::from<double>({std::ssize(start)}, std::span<const double>(start));
    for (Group& group : family.groups)
      for (Member& m : group.members) {
        m.state.clear();
        for (const StateSpec& spec : family.rule->state(m.param->info))
          m.state.push_back(first_value(spec, m.param->info, m.param->value()));
      }
  }
}

std::vector<Tensor> Optimizer::gradients() const {
  std::vector<Tensor> all;
  for (const Parameter& p : params_) {
    all.push_back(p.grad());
    if (!all.back().defined())
      throw Error(fmt::format(
          "[optimizer] parameter '{}' has no gradient; run backward before step()", p.info.name));
  }
  return all;
}

StepReport Optimizer::step() {
  if (wants_sampled())
    throw ConfigError(fmt::format(
        "[optimizer] update {} needs gradients against labels drawn from the model's own "
        "distribution, and nobody took any (take_sampled); where there are none to be had, choose "
        "another optimizer",
        steps_done_ + 1));
  const double rate = config_.schedule.factor(steps_done_);
  StepReport report;
  report.lr = rate * config_.lr;

  double squares = 0;
  const std::vector<double> of_each = math::sum_squares(gradients());
  for (std::size_t i = 0; i < params_.size(); ++i) {
    if (!std::isfinite(of_each[i]) && report.non_finite.empty())
      report.non_finite = params_[i].info.name;
    squares += of_each[i];
  }
  sampled_ = false;
  report.grad_norm = std::sqrt(squares);
  if (!std::isfinite(squares)) {
    report.skipped = true;
    return report;
  }
  const double clip = config_.grad_clip;
  const double grad_factor = clip > 0 ? std::min(1.0, clip / (report.grad_norm + 1e-6)) : 1;

  ++steps_done_;
  for (Family& family : families_)
    family.step({.t = steps_done_ - state_from_}, rate, grad_factor, config_);
  follow_ramps();
  return report;
}

void Optimizer::Family::step(StepInfo info, double rate, double grad_factor,
                             const OptimizerConfig& config) {
  const auto* elementwise = dynamic_cast<const ElementwiseRule*>(rule);
  const double decay = config.weight_decay;
  info.lr = rate * groups.front().lr;
  info.numbers = numbers.to_vector();
  std::vector<double> of_terms;
  if (elementwise) of_terms = sums(*elementwise, info, rate, grad_factor, decay);
  info.numbers = rule->next_numbers(info, of_terms);
  std::copy(info.numbers.begin(), info.numbers.end(), numbers.host<double>().begin());

  for (const Group& group : groups) {
    info.lr = rate * group.lr;
    if (elementwise && (!config.cautious || rule->follows_signs())) {
      // One pass over everything: each number of w, g and the state is read and written once.
      const ElementProgram program =
          written(states(), grad_factor, [&](ElementwiseBuilder& f, Lanes& p, int) {
            const Lane u = elementwise->direction(info, p);
            f.store(kW, updated(p.w, u, info.lr, rule->decays() ? 0.0 : p.decay,
                                config.cautious_decay));
          });
      math::elementwise(program, Group::rows(group.members, decay));
      continue;
    }
    group.in_batches([&](std::span<const Member> members) {
      std::vector<Slot> slots;
      for (const Member& m : members)
        slots.push_back({&m.param->info, m.param->value(), m.param->grad(), m.state,
                         like(m.param->value()), decay * m.decay_factor});
      if (elementwise) {
        const ElementProgram program =
            written(states(), grad_factor, [&](ElementwiseBuilder& f, Lanes& p, int behind) {
              f.store(behind, elementwise->direction(info, p));
            });
        std::vector<ElementRow> rows = Group::rows(members, decay);
        for (std::size_t i = 0; i < rows.size(); ++i) rows[i].columns.push_back(slots[i].u);
        math::elementwise(program, rows);
      } else {
        if (grad_factor != 1) {
          std::vector<Tensor> given, clipped;
          for (Slot& s : slots) {
            given.push_back(s.g);
            clipped.push_back(s.g = like(s.w));
          }
          math::scale(clipped, given, std::vector<double>(given.size(), grad_factor));
        }
        dynamic_cast<const MatrixRule&>(*rule).direction(info, slots);
      }
      apply(slots, info.lr, *rule, config);
    });
  }
}

std::vector<double> Optimizer::Family::sums(const ElementwiseRule& r, StepInfo info, double rate,
                                            double grad_factor, double decay) const {
  std::vector<double> total;
  for (const Group& group : groups) {
    info.lr = rate * group.lr;
    const ElementProgram program =
        written(states(), grad_factor, [&](ElementwiseBuilder& f, Lanes& p, int behind) {
          const std::vector<Lane> terms = r.terms(info, p);
          total.resize(terms.size(), 0);
          for (const Lane& term : terms) f.store(behind++, term);
        });
    if (total.empty()) return total;
    group.in_batches([&](std::span<const Member> members) {
      std::int64_t size = 0;
      for (const Member& m : members) size += m.param->value().numel();
      std::vector<ElementRow> rows = Group::rows(members, decay);
      std::vector<Tensor> terms;
      for (std::size_t k = 0; k < total.size(); ++k) {
        const Tensor& w = members.front().param->value();
        terms.push_back(Tensor::empty({size}, w.dtype(), w.device()));
        std::int64_t begin = 0;
        for (ElementRow& row : rows) {
          const std::int64_t end = begin + row.columns[kW].numel();
          row.columns.push_back(terms[k].slice(begin, end).reshape(row.columns[kW].shape()));
          begin = end;
        }
      }
      math::elementwise(program, rows);
      for (std::size_t k = 0; k < total.size(); ++k) total[k] += math::sum(terms[k]);
    });
  }
  return total;
}

bool Optimizer::wants_sampled() const {
  return !sampled_ && std::any_of(families_.begin(), families_.end(), [&](const Family& f) {
    const std::int64_t interval = f.rule->sampling_interval();
    return interval > 0 && (steps_done_ - state_from_) % interval == 0;
  });
}

void Optimizer::take_sampled(std::int64_t tokens) {
  sampled_ = true;
  const std::vector<double> squares = math::sum_squares(gradients());
  if (std::any_of(squares.begin(), squares.end(), [](double s) { return !std::isfinite(s); }))
    return;
  const double rate = config_.schedule.factor(steps_done_);
  for (const Family& family : families_) {
    const std::int64_t interval = family.rule->sampling_interval();
    if (interval == 0 || (steps_done_ - state_from_) % interval != 0) continue;
    const auto& rule = dynamic_cast<const ElementwiseRule&>(*family.rule);
    for (const Group& group : family.groups) {
      const StepInfo info{steps_done_ - state_from_ + 1, rate * group.lr,
                          family.numbers.to_vector(), tokens};
      math::elementwise(written(family.states(), 1,
                                [&](ElementwiseBuilder&, Lanes& p, int) { rule.observe(info, p); }),
                        Group::rows(group.members, config_.weight_decay));
    }
  }
}

void Optimizer::zero_grad() {
  for (Parameter& p : params_) p.var.zero_grad();
}

std::vector<NamedTensor> Optimizer::state() const {
  std::vector<NamedTensor> all;
  for (const Family& family : families_) {
    const std::vector<NumberSpec> numbers = family.rule->numbers();
    for (std::size_t k = 0; k < numbers.size(); ++k) {
      const auto at = static_cast<std::int64_t>(k);
      all.push_back({fmt::format("opt/{}.{}", family.name, numbers[k].name),
                     family.numbers.slice(at, at + 1)});
    }
    for (const Group& group : family.groups)
      for (const Member& m : group.members) {
        const std::string prefix = fmt::format("opt/{}/", m.param->info.name);
        const std::vector<StateSpec> specs = family.rule->state(m.param->info);
        for (std::size_t k = 0; k < specs.size(); ++k)
          all.push_back({prefix + specs[k].name, m.state[k]});
        if (m.training.defined()) all.push_back({prefix + "training", m.training});
      }
  }
  return all;
}

EvalWeights::EvalWeights(Optimizer& optimizer) : optimizer_(optimizer) {
  for (Optimizer::Family& family : optimizer.families_) {
    const auto* rule = dynamic_cast<const ElementwiseRule*>(family.rule);
    if (!rule) continue;
    ElementwiseBuilder program;
    Lanes p{program.column(0), 0.0, {}};
    for (std::size_t k = 0; k < family.states(); ++k)
      p.state.push_back(program.column(static_cast<int>(k) + 1));
    const std::optional<Lane> w = rule->evaluated(p);
    if (!w) continue;
    program.store(0, *w);
    std::vector<ElementRow> rows;
    for (Optimizer::Group& group : family.groups)
      for (Optimizer::Member& m : group.members) {
        m.training = m.param->value().clone();
        rows.push_back({{m.param->value()}});
        rows.back().columns.insert(rows.back().columns.end(), m.state.begin(), m.state.end());
      }
    math::elementwise(program.program(), rows);
  }
}

EvalWeights::~EvalWeights() {
  for (Optimizer::Family& family : optimizer_.families_)
    for (Optimizer::Group& group : family.groups)
      for (Optimizer::Member& m : group.members)
        if (m.training.defined()) m.param->value().copy_from(std::exchange(m.training, {}));
}

void initialise(std::span<Parameter> params, const OptimizerConfig& config) {
  const std::vector<Route> routes = route(params, config);
  for (std::size_t i = 0; i < params.size(); ++i)
    config.rule(routes[i].rule).initialise(params[i].info, params[i].value());
}

}  // namespace muonlab

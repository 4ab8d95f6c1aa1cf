#include "optim/optimizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/error.h"
#include "core/math.h"

namespace muonlab {
namespace {

// Elements of parameters that a matrix rule is given at once: bounds the memory for their
// directions and for what the rule needs beside them.
constexpr std::int64_t kBatch = std::int64_t{1} << 21;

Tensor like(const Tensor& t) { return Tensor::empty(t.shape(), t.dtype(), t.device()); }

/// w - lr (u + decay w)
Lane updated(const Lane& w, const Lane& u, const Lane& lr, const Lane& decay) {
  return w - lr * (u + decay * w);
}

}  // namespace

struct Optimizer::Member {
  Parameter* param;
  double decay;
  std::vector<Tensor> state;
};

// The parameters of one rule.
struct Optimizer::Group {
  const Rule* rule;
  double lr;  // peak
  std::vector<Member> members;

  void step(const StepInfo& info, double grad_factor);
  void step(const ElementwiseRule& r, const StepInfo& info, double grad_factor);
  void step(const MatrixRule& r, const StepInfo& info, double grad_factor);
};

Optimizer::Optimizer(std::vector<Parameter> params, OptimizerConfig config)
    : params_(std::move(params)), config_(std::move(config)), routes_(route(params_, config_)) {
  for (std::size_t i = 0; i < params_.size(); ++i) {
    const Route& r = routes_[i];
    const Rule* rule = &config_.rule(r.rule);
    auto group = std::find_if(groups_.begin(), groups_.end(),
                              [&](const Group& g) { return g.rule == rule; });
    if (group == groups_.end()) group = groups_.insert(groups_.end(), Group{rule, r.lr, {}});
    const Tensor& w = params_[i].value();
    std::vector<Tensor> state;
    for (const StateSpec& spec : rule->state(params_[i].info))
      state.push_back(spec.start == StateSpec::Start::weight
                          ? w.clone()
                          : Tensor::zeros(spec.shape.value_or(w.shape()), w.dtype(), w.device()));
    group->members.push_back({&params_[i], r.decay, std::move(state)});
  }
}

Optimizer::~Optimizer() = default;

StepReport Optimizer::step() {
  const double rate = config_.schedule.factor(steps_done_);
  StepReport report;
  report.lr = rate * config_.lr;

  std::vector<Tensor> gradients;
  for (const Parameter& p : params_) {
    gradients.push_back(p.grad());
    if (!gradients.back().defined())
      throw Error(fmt::format(
          "[optimizer] parameter '{}' has no gradient; run backward before step()", p.info.name));
  }
  double squares = 0;
  const std::vector<double> of_each = math::sum_squares(gradients);
  for (std::size_t i = 0; i < params_.size(); ++i) {
    if (!std::isfinite(of_each[i]) && report.non_finite.empty())
      report.non_finite = params_[i].info.name;
    squares += of_each[i];
  }
  report.grad_norm = std::sqrt(squares);
  if (!std::isfinite(squares)) {
    report.skipped = true;
    return report;
  }
  const double clip = config_.grad_clip;
  const double grad_factor = clip > 0 ? std::min(1.0, clip / (report.grad_norm + 1e-6)) : 1;

  ++steps_done_;
  for (Group& group : groups_) group.step({steps_done_, rate * group.lr}, grad_factor);
  return report;
}

void Optimizer::Group::step(const StepInfo& info, double grad_factor) {
  if (const auto* elementwise = dynamic_cast<const ElementwiseRule*>(rule))
    step(*elementwise, info, grad_factor);
  else
    step(dynamic_cast<const MatrixRule&>(*rule), info, grad_factor);
}

// One pass over everything: each number of w, g and the state is read and written once.
void Optimizer::Group::step(const ElementwiseRule& r, const StepInfo& info, double grad_factor) {
  enum : int { kW, kG, kState };
  ElementwiseBuilder program;
  const Lane decay = program.scalar(0);
  Lanes p{program.column(kW), program.column(kG) * grad_factor, {}};
  const auto states = static_cast<int>(members[0].state.size());
  for (int k = 0; k < states; ++k) p.state.push_back(program.column(kState + k));
  const Lane u = r.direction(info, p);
  for (int k = 0; k < states; ++k) program.store(kState + k, p.state[static_cast<std::size_t>(k)]);
  program.store(kW, updated(p.w, u, info.lr, decay));

  std::vector<ElementRow> rows;
  for (const Member& m : members) {
    rows.push_back({{m.param->value(), m.param->grad()}, {m.decay}});
    rows.back().columns.insert(rows.back().columns.end(), m.state.begin(), m.state.end());
  }
  math::elementwise(program.program(), rows);
}

void Optimizer::Group::step(const MatrixRule& r, const StepInfo& info, double grad_factor) {
  enum : int { kW, kU };
  ElementwiseBuilder apply;
  apply.store(kW, updated(apply.column(kW), apply.column(kU), info.lr, apply.scalar(0)));
  for (auto first = members.begin(); first != members.end();) {
    std::vector<Slot> slots;
    std::vector<Tensor> given, clipped;
    std::vector<ElementRow> rows;
    std::int64_t size = 0;
    do {
      const Member& m = *first++;
      const Tensor& w = m.param->value();
      given.push_back(m.param->grad());
      clipped.push_back(grad_factor == 1 ? given.back() : like(w));
      slots.push_back({&m.param->info, w, clipped.back(), m.state, like(w)});
      rows.push_back({{w, slots.back().u}, {m.decay}});
      size += w.numel();
    } while (first != members.end() && size + first->param->value().numel() <= kBatch);
    if (grad_factor != 1)
      math::scale(clipped, given, std::vector<double>(given.size(), grad_factor));
    r.direction(info, slots);
    math::elementwise(apply.program(), rows);
  }
}

void Optimizer::zero_grad() {
  for (Parameter& p : params_) p.var.zero_grad();
}

std::vector<NamedTensor> Optimizer::state() const {
  std::vector<NamedTensor> all;
  for (const Group& group : groups_) {
    for (const Member& m : group.members) {
      const std::vector<StateSpec> specs = group.rule->state(m.param->info);
      for (std::size_t k = 0; k < specs.size(); ++k)
        all.push_back({fmt::format("opt/{}/{}", m.param->info.name, specs[k].name), m.state[k]});
    }
  }
  return all;
}

}  // namespace muonlab

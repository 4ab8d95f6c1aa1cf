#include "optim/optimizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/backend.h"
#include "core/error.h"
#include "core/math.h"

namespace muonlab {
namespace {

// Elements of an elementwise rule's slice. The five or so tensors of a slice stay in the core's own
// cache from the first pass of the rule to the last; the cost of a call is spread over enough work.
constexpr std::int64_t kSlice = 16384;
// Slices in flight at most: enough to fill the memory bus.
constexpr std::int64_t kLanes = 8;
// Elements of parameters that a matrix rule is given at once: bounds the memory for their
// directions and for what the rule needs beside them.
constexpr std::int64_t kBatch = std::int64_t{1} << 21;

Tensor like(const Tensor& t) { return Tensor::empty(t.shape(), t.dtype(), t.device()); }

Tensor scaled(const Tensor& g, double factor) {
  if (factor == 1) return g;
  Tensor s = like(g);
  math::axpby(s, factor, g, 0);
  return s;
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

  void step_slices(const StepInfo& info, double grad_factor);
  void step_batches(const StepInfo& info, double grad_factor);
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
    for (std::size_t k = 0; k < rule->state_names().size(); ++k)
      state.push_back(Tensor::zeros(w.shape(), w.dtype(), w.device()));
    group->members.push_back({&params_[i], r.decay, std::move(state)});
  }
}

Optimizer::~Optimizer() = default;

StepReport Optimizer::step() {
  const double rate = config_.schedule.factor(steps_done_);
  StepReport report;
  report.lr = rate * config_.lr;

  double squares = 0;
  for (const Parameter& p : params_) {
    if (!p.grad().defined())
      throw Error(fmt::format(
          "[optimizer] parameter '{}' has no gradient; run backward before step()", p.info.name));
    const double square = math::sum_squares(p.grad());
    if (!std::isfinite(square) && report.non_finite.empty()) report.non_finite = p.info.name;
    squares += square;
  }
  report.grad_norm = std::sqrt(squares);
  if (!std::isfinite(squares)) {
    report.skipped = true;
    return report;
  }
  const double clip = config_.grad_clip;
  const double grad_factor = clip > 0 ? std::min(1.0, clip / (report.grad_norm + 1e-6)) : 1;

  ++steps_done_;
  for (Group& group : groups_) {
    const StepInfo info{steps_done_, rate * group.lr};
    if (group.rule->elementwise())
      group.step_slices(info, grad_factor);
    else
      group.step_batches(info, grad_factor);
  }
  return report;
}

// All passes of the rule over one slice follow each other while it is in the cache. The slices do
// not depend on the number of threads.
void Optimizer::Group::step_slices(const StepInfo& info, double grad_factor) {
  struct Slice {
    std::size_t member;
    std::int64_t begin, end;
  };
  std::vector<Slot> flat;
  std::vector<Slice> slices;
  for (const Member& m : members) {
    const std::int64_t n = m.param->value().numel();
    Slot s{&m.param->info, m.param->value().reshape({n}), m.param->grad().reshape({n}), {}, {}};
    for (const Tensor& t : m.state) s.state.push_back(t.reshape({n}));
    for (std::int64_t at = 0; at < n; at += kSlice)
      slices.push_back({flat.size(), at, std::min(n, at + kSlice)});
    flat.push_back(std::move(s));
  }
  if (slices.empty()) return;
  // Each lane has scratch that exists before the loop: how much is allocated must not depend on
  // which slices happen to run at the same time, nor on whether this step clips.
  const auto count = static_cast<std::int64_t>(slices.size());
  const std::int64_t lanes = std::min(kLanes, count);
  const Tensor& like_w = flat[0].w;
  const Tensor scratch = Tensor::empty({2 * lanes, kSlice}, like_w.dtype(), like_w.device());
  backend_of(like_w.device()).for_each(lanes, [&](std::int64_t lane) {
    for (std::int64_t i = lane; i < count; i += lanes) {
      const auto& [member, begin, end] = slices[static_cast<std::size_t>(i)];
      const auto scratch_row = [&, n = end - begin](std::int64_t row) {
        return scratch.slice(row, row + 1).reshape({kSlice}).slice(0, n);
      };
      const Slot& whole = flat[member];
      Slot s{whole.info, whole.w.slice(begin, end), whole.g.slice(begin, end), {}, {}};
      if (grad_factor != 1) {
        Tensor clipped = scratch_row(2 * lane);
        math::axpby(clipped, grad_factor, s.g, 0);
        s.g = clipped;
      }
      for (const Tensor& t : whole.state) s.state.push_back(t.slice(begin, end));
      s.u = scratch_row(2 * lane + 1);
      rule->direction(info, {&s, 1});
      math::apply_update(s.w, s.u, info.lr, members[member].decay);
    }
  });
}

void Optimizer::Group::step_batches(const StepInfo& info, double grad_factor) {
  for (auto first = members.begin(); first != members.end();) {
    std::vector<Slot> slots;
    auto last = first;
    std::int64_t size = 0;
    do {
      const Tensor& w = last->param->value();
      slots.push_back(
          {&last->param->info, w, scaled(last->param->grad(), grad_factor), last->state, like(w)});
      size += w.numel();
      ++last;
    } while (last != members.end() && size + last->param->value().numel() <= kBatch);
    rule->direction(info, slots);
    for (Slot& s : slots) math::apply_update(s.w, s.u, info.lr, (first++)->decay);
  }
}

void Optimizer::zero_grad() {
  for (Parameter& p : params_) p.var.zero_grad();
}

std::vector<NamedTensor> Optimizer::state() const {
  std::vector<NamedTensor> all;
  for (const Group& group : groups_) {
    const std::vector<std::string> names = group.rule->state_names();
    for (const Member& m : group.members)
      for (std::size_t k = 0; k < names.size(); ++k)
        all.push_back({fmt::format("opt/{}/{}", m.param->info.name, names[k]), m.state[k]});
  }
  return all;
}

}  // namespace muonlab

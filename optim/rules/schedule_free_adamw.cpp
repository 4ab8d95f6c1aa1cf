// Defazio et al. 2024, "The road less scheduled", algorithm 1, with the weights of the authors'
// schedulefree 1.4. Gradients are taken at y, which is w; the weights to evaluate are x; z is kept:
//   v = b2 v + (1 - b2) g^2
//   d = g / (sqrt(v / (1 - b2^t)) + eps) + decay y
//   z' = z - lr d        x' = (1 - c) x + c z'        y' = b1 x' + (1 - b1) z'
//   c = a_t / (a_1 + ... + a_t),  a_t = t^r (largest lr so far)^p
// With x = (y - (1 - b1) z) / b1 left out, lr u = y - y' is
//   y' = (1 - c) y + c z - lr (1 - b1 (1 - c)) d
#include <algorithm>
#include <cmath>

#include "optim/rule.h"
#include "optim/steps/moments.h"

namespace muonlab {
namespace {

class ScheduleFreeAdamW final : public ElementwiseRule {
 public:
  OptionTable options() override {
    return OptionBuilder()
        .number("schedule_free_adamw.beta1", beta1_,
                {.min = 0, .max = 1, .open_min = true, .open_max = true},
                "where gradients are taken between the base point, 0, and its mean, 1")
        .number("schedule_free_adamw.beta2", beta2_, {.min = 0, .max = 1, .open_max = true},
                "factor of the running mean of the squared gradient")
        .number("schedule_free_adamw.eps", eps_, {.min = 0, .max = 1, .open_min = true},
                "added to the root of the mean square")
        .number("schedule_free_adamw.r", r_, {.min = 0, .max = 100},
                "power of the update's number in its weight in the mean")
        .number("schedule_free_adamw.lr_power", lr_power_, {.min = 0, .max = 100},
                "power of the largest rate so far in that weight")
        .table();
  }
  std::vector<StateSpec> state(const ParamInfo&) const override {
    return {{.name = "z", .start = StateSpec::Start::weight}, {"v"}};
  }
  bool decays() const override { return true; }

  enum : int { kLargestRate, kSum };
  std::vector<NumberSpec> numbers() const override { return {{"largest_lr"}, {"sum"}}; }
  std::vector<double> next_numbers(const StepInfo& step, std::span<const double>) const override {
    std::vector<double> n = step.numbers;
    n[kLargestRate] = std::max(n[kLargestRate], step.lr);
    n[kSum] += weight(step.t, n[kLargestRate]);
    return n;
  }

  Lane direction(const StepInfo& step, Lanes& p) const override {
    if (step.lr == 0) return p.g;  // nothing moves
    const double c = weight(step.t, step.numbers[kLargestRate]) / step.numbers[kSum];
    Lane &z = p.state[0], &v = p.state[1];
    v = ema(v, p.g * p.g, beta2_);
    const Lane d = p.g / (sqrt(v / bias_correction(beta2_, step.t)) + eps_) + p.decay * p.w;
    const Lane u = c / step.lr * (p.w - z) + (1 - beta1_ * (1 - c)) * d;
    z = z - step.lr * d;
    return u;
  }
  std::optional<Lane> evaluated(const Lanes& p) const override {
    return lerp(p.w, p.state[0], 1 - 1 / beta1_);
  }

 private:
  double weight(std::int64_t t, double largest_rate) const {
    return std::pow(static_cast<double>(t), r_) * std::pow(largest_rate, lr_power_);
  }

  double beta1_ = 0.9, beta2_ = 0.999, eps_ = 1e-8, r_ = 0, lr_power_ = 2;
};

}  // namespace

std::unique_ptr<Rule> make_schedule_free_adamw() { return std::make_unique<ScheduleFreeAdamW>(); }

}  // namespace muonlab

// Mishchenko, Defazio 2023, "Prodigy: an expeditiously adaptive parameter-free learner", algorithm
// 4 (Adam), with what the authors' prodigyopt 1.1 adds. d estimates the distance from the first
// weights w0 to the solution, and is the rate; the rate of the options, 1, is a factor of it. Sums
// run over all parameters:
//   m = b1 m + (1 - b1) d g        v = b2 v + (1 - b2) d^2 g^2        b3 = sqrt(b2)
//   r = b3 r + lr d^2 <g, w0 - w> / d0        s = b3 s + lr d^2 g / d0
//   d' = max(d, d_coef r / |s|_1)
//   lr u = lr d (m / (sqrt(v) + d' eps) + decay w)
// bias_correction: lr times sqrt(1 - b2^t) / (1 - b1^t) wherever it stands. safeguard_warmup: s
// without lr, so that d does not grow while it is small.
#include <algorithm>
#include <cmath>

#include "optim/rule.h"
#include "optim/steps/moments.h"

namespace muonlab {
namespace {

class Prodigy final : public ElementwiseRule {
 public:
  OptionTable options() override {
    return OptionBuilder()
        .number("prodigy.beta1", beta1_, {.min = 0, .max = 1, .open_max = true},
                "factor of the running mean of the gradient")
        .number("prodigy.beta2", beta2_, {.min = 0, .max = 1, .open_max = true},
                "factor of the running mean of its square, and, rooted, of the sums behind d")
        .number("prodigy.eps", eps_, {.min = 0, .max = 1, .open_min = true},
                "added to the root of the mean square, times d")
        .number("prodigy.d0", d0_, {.min = 0, .max = 1000, .open_min = true},
                "first estimate of the distance, to be too small")
        .number("prodigy.d_coef", d_coef_, {.min = 0, .max = 1000, .open_min = true},
                "factor of the estimate")
        .boolean("prodigy.bias_correction", bias_correction_, "as in Adam")
        .boolean("prodigy.safeguard_warmup", safeguard_warmup_,
                 "keeps the estimate down while the rate warms up")
        .table();
  }
  std::vector<StateSpec> state(const ParamInfo&) const override {
    return {{.name = "start", .start = StateSpec::Start::weight}, {"m"}, {"v"}, {"s"}};
  }
  bool decays() const override { return true; }

  enum : int { kUsed, kNext, kNumerator };
  std::vector<NumberSpec> numbers() const override {
    return {{"d", d0_}, {"next_d", d0_}, {"numerator", 0}};
  }
  std::vector<Lane> terms(const StepInfo& step, Lanes& p) const override {
    const double d = step.numbers[kNext];
    const double rate = safeguard_warmup_ ? 1 : corrected(step);
    const Lane& w0 = p.state[0];
    Lane &m = p.state[1], &v = p.state[2], &s = p.state[3];
    m = beta1_ * m + (1 - beta1_) * d * p.g;
    v = beta2_ * v + (1 - beta2_) * d * d * (p.g * p.g);
    s = std::sqrt(beta2_) * s + rate * d * d / d0_ * p.g;
    return {p.g * (w0 - p.w), abs(s)};
  }
  std::vector<double> next_numbers(const StepInfo& step,
                                   std::span<const double> sums) const override {
    const double d = step.numbers[kNext];
    const double numerator =
        std::sqrt(beta2_) * step.numbers[kNumerator] + corrected(step) * d * d / d0_ * sums[0];
    const double estimate = sums[1] > 0 ? d_coef_ * numerator / sums[1] : 0;
    return {d, std::max(d, estimate), numerator};
  }

  Lane direction(const StepInfo& step, Lanes& p) const override {
    const Lane &m = p.state[1], &v = p.state[2];
    const double d = step.numbers[kUsed];
    const double rate = step.lr > 0 ? corrected(step) / step.lr : 1;
    return rate * d * (m / (sqrt(v) + step.numbers[kNext] * eps_) + p.decay * p.w);
  }

 private:
  double corrected(const StepInfo& step) const {
    if (!bias_correction_) return step.lr;
    return step.lr * std::sqrt(bias_correction(beta2_, step.t)) / bias_correction(beta1_, step.t);
  }

  double beta1_ = 0.9, beta2_ = 0.999, eps_ = 1e-8, d0_ = 1e-6, d_coef_ = 1;
  bool bias_correction_ = false, safeguard_warmup_ = false;
};

}  // namespace

std::unique_ptr<Rule> make_prodigy() { return std::make_unique<Prodigy>(); }

}  // namespace muonlab

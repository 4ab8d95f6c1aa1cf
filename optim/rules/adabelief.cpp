// Zhuang et al. 2020, "AdaBelief optimizer: adapting stepsizes by the belief in observed
// gradients", algorithm 2 (the decay is the driver's):
//   m = b1 m + (1 - b1) g        s = b2 s + (1 - b2) (g - m)^2 + eps
//   u = (m / (1 - b1^t)) / (sqrt(s / (1 - b2^t)) + eps)
// rectify: Liu et al. 2019, "On the variance of the adaptive learning rate and beyond", algorithm
// 2, as in the authors' adabelief-pytorch 0.2. With n the length of the mean that s is,
//   N = 2 / (1 - b2) - 1        n = N - 2 t b2^t / (1 - b2^t)
//   u = r (m / (1 - b1^t)) / (sqrt(s) + eps)  if n >= 5, else m / (1 - b1^t)
//   r = sqrt((1 - b2^t) (n - 4) / (N - 4) (n - 2) / n N / (N - 2))
#include <cmath>

#include "optim/rule.h"
#include "optim/steps/moments.h"

namespace muonlab {
namespace {

class AdaBelief final : public ElementwiseRule {
 public:
  OptionTable options() override {
    return OptionBuilder()
        .number("adabelief.beta1", beta1_, {.min = 0, .max = 1, .open_max = true},
                "factor of the running mean of the gradient")
        .number("adabelief.beta2", beta2_, {.min = 0, .max = 1, .open_max = true},
                "factor of the running mean of its squared distance from that")
        .number("adabelief.eps", eps_, {.min = 0, .max = 1, .open_min = true},
                "added to the mean square and to its root")
        .boolean("adabelief.rectify", rectify_, "short steps while the mean square is of few")
        .table();
  }
  std::vector<StateSpec> state(const ParamInfo&) const override { return {{"m"}, {"s"}}; }

  Lane direction(const StepInfo& step, Lanes& p) const override {
    Lane &m = p.state[0], &s = p.state[1];
    m = ema(m, p.g, beta1_);
    const Lane surprise = p.g - m;
    s = ema(s, surprise * surprise, beta2_) + eps_;
    const double c2 = bias_correction(beta2_, step.t);
    const Lane mean = m / bias_correction(beta1_, step.t);
    if (!rectify_) return mean / (sqrt(s / c2) + eps_);
    const double longest = 2 / (1 - beta2_) - 1;
    const double length = longest - 2 * static_cast<double>(step.t) * (1 - c2) / c2;
    if (length < 5) return mean;
    const double r = std::sqrt(c2 * (length - 4) / (longest - 4) * (length - 2) / length * longest /
                               (longest - 2));
    return r * mean / (sqrt(s) + eps_);
  }

 private:
  double beta1_ = 0.9, beta2_ = 0.999, eps_ = 1e-16;
  bool rectify_ = true;
};

}  // namespace

std::unique_ptr<Rule> make_adabelief() { return std::make_unique<AdaBelief>(); }

}  // namespace muonlab

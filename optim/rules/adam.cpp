// Kingma, Ba 2014, "Adam", algorithm 1, with the decay as a penalty in the loss (their section 7's
// f + lambda/2 |w|^2), as in torch.optim.Adam; `adamw` has it beside the moments:
//   g = g + decay w
//   m = b1 m + (1 - b1) g        v = b2 v + (1 - b2) g^2
//   u = (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
#include "optim/rule.h"
#include "optim/steps/moments.h"

namespace muonlab {
namespace {

class Adam final : public ElementwiseRule {
 public:
  OptionTable options() override {
    return OptionBuilder()
        .number("adam.beta1", beta1_, {.min = 0, .max = 1, .open_max = true},
                "factor of the running mean of the gradient")
        .number("adam.beta2", beta2_, {.min = 0, .max = 1, .open_max = true},
                "factor of the running mean of its square")
        .number("adam.eps", eps_, {.min = 0, .max = 1, .open_min = true},
                "added to the root of the mean square")
        .table();
  }
  std::vector<StateSpec> state(const ParamInfo&) const override { return {{"m"}, {"v"}}; }
  bool decays() const override { return true; }

  Lane direction(const StepInfo& step, Lanes& p) const override {
    Lane &m = p.state[0], &v = p.state[1];
    const Lane g = p.g + p.decay * p.w;
    m = ema(m, g, beta1_);
    v = ema(v, g * g, beta2_);
    const double c1 = bias_correction(beta1_, step.t), c2 = bias_correction(beta2_, step.t);
    return (m / c1) / (sqrt(v / c2) + eps_);
  }

 private:
  double beta1_ = 0.9, beta2_ = 0.999, eps_ = 1e-8;
};

}  // namespace

std::unique_ptr<Rule> make_adam() { return std::make_unique<Adam>(); }

}  // namespace muonlab

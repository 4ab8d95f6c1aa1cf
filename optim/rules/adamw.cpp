// Kingma, Ba 2014, "Adam", algorithm 1; Loshchilov, Hutter 2017, "Decoupled weight decay
// regularization", algorithm 2 (the decay is the driver's):
//   m = b1 m + (1 - b1) g        v = b2 v + (1 - b2) g^2
//   u = (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
#include "optim/rule.h"
#include "optim/steps/moments.h"

namespace muonlab {
namespace {

class AdamW final : public ElementwiseRule {
 public:
  OptionTable options() override {
    return OptionBuilder()
        .number("adamw.beta1", beta1_, {.min = 0, .max = 1, .open_max = true},
                "factor of the running mean of the gradient")
        .number("adamw.beta2", beta2_, {.min = 0, .max = 1, .open_max = true},
                "factor of the running mean of its square")
        .number("adamw.eps", eps_, {.min = 0, .max = 1, .open_min = true},
                "added to the root of the mean square")
        .table();
  }
  std::vector<StateSpec> state(const ParamInfo&) const override { return {{"m"}, {"v"}}; }

  Lane direction(const StepInfo& step, Lanes& p) const override {
    Lane &m = p.state[0], &v = p.state[1];
    m = ema(m, p.g, beta1_);
    v = ema(v, p.g * p.g, beta2_);
    const double c1 = bias_correction(beta1_, step.t), c2 = bias_correction(beta2_, step.t);
    return (m / c1) / (sqrt(v / c2) + eps_);
  }

 private:
  double beta1_ = 0.9, beta2_ = 0.99, eps_ = 1e-8;
};

}  // namespace

std::unique_ptr<Rule> make_adamw() { return std::make_unique<AdamW>(); }

}  // namespace muonlab

// Kingma, Ba 2014, "Adam", algorithm 1; Loshchilov, Hutter 2017, "Decoupled weight decay
// regularization", algorithm 2 (the decay is the driver's):
//   m = b1 m + (1 - b1) g        v = b2 v + (1 - b2) g^2
//   u = (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
// amsgrad: Reddi et al. 2018, "On the convergence of Adam and beyond", algorithm 2: the largest v
// so far takes its place in u. nadam: Dozat 2016, "Incorporating Nesterov momentum into Adam": the
// numerator of u looks ahead,
//   b1 m / (1 - b1^(t+1)) + (1 - b1) g / (1 - b1^t)
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
        .boolean("adamw.amsgrad", amsgrad_, "divide by the largest mean square so far")
        .boolean("adamw.nadam", nadam_, "look ahead along the mean of the gradient")
        .table();
  }
  std::vector<StateSpec> state(const ParamInfo&) const override {
    if (amsgrad_) return {{"m"}, {"v"}, {"largest_v"}};
    return {{"m"}, {"v"}};
  }

  Lane direction(const StepInfo& step, Lanes& p) const override {
    Lane &m = p.state[0], &v = p.state[1];
    m = ema(m, p.g, beta1_);
    v = ema(v, p.g * p.g, beta2_);
    if (amsgrad_) p.state[2] = max(p.state[2], v);
    const double c1 = bias_correction(beta1_, step.t), c2 = bias_correction(beta2_, step.t);
    const Lane ahead =
        nadam_ ? beta1_ / bias_correction(beta1_, step.t + 1) * m + (1 - beta1_) / c1 * p.g
               : m / c1;
    return ahead / (sqrt((amsgrad_ ? p.state[2] : v) / c2) + eps_);
  }

 private:
  double beta1_ = 0.9, beta2_ = 0.99, eps_ = 1e-8;
  bool amsgrad_ = false, nadam_ = false;
};

}  // namespace

std::unique_ptr<Rule> make_adamw() { return std::make_unique<AdamW>(); }

}  // namespace muonlab

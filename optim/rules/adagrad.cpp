// Duchi et al. 2011, "Adaptive subgradient methods", figure 1 with a diagonal matrix, and a rate
// that falls, as in torch.optim.Adagrad:
//   s = s + g^2
//   u = g / (sqrt(s) + eps) / (1 + (t - 1) lr_decay)
// l2: of g + decay w in place of g.
#include "optim/rule.h"

namespace muonlab {
namespace {

class AdaGrad final : public ElementwiseRule {
 public:
  OptionTable options() override {
    return OptionBuilder()
        .number("adagrad.lr_decay", lr_decay_, {.min = 0, .max = 1},
                "how fast the rate falls: 1 / (1 + (t - 1) lr_decay)")
        .number("adagrad.eps", eps_, {.min = 0, .max = 1, .open_min = true},
                "added to the root of the sum of squares")
        .boolean("adagrad.l2", l2_, "the decay joins the gradient, as in PyTorch")
        .table();
  }
  std::vector<StateSpec> state(const ParamInfo&) const override { return {{"sum"}}; }
  bool decays() const override { return l2_; }
  bool follows_signs() const override { return !l2_; }

  Lane direction(const StepInfo& step, Lanes& p) const override {
    const Lane g = l2_ ? p.g + p.decay * p.w : p.g;
    Lane& s = p.state[0];
    s = s + g * g;
    return g / (sqrt(s) + eps_) / (1 + static_cast<double>(step.t - 1) * lr_decay_);
  }

 private:
  double lr_decay_ = 0, eps_ = 1e-10;
  bool l2_ = false;
};

}  // namespace

std::unique_ptr<Rule> make_adagrad() { return std::make_unique<AdaGrad>(); }

}  // namespace muonlab

// Tieleman, Hinton 2012, "Neural networks for machine learning", lecture 6.5; centered and with
// momentum: Graves 2013, "Generating sequences with recurrent neural networks", equations 38-41. As
// in torch.optim.RMSprop, with eps outside the root and the rate outside the momentum:
//   v = a v + (1 - a) g^2
//   d = sqrt(v) + eps, or, centered, n = a n + (1 - a) g and d = sqrt(v - n^2) + eps
//   u = g / d, or, with momentum, b = mu b + g / d and u = b
// l2: of g + decay w in place of g.
#include "optim/rule.h"
#include "optim/steps/moments.h"

namespace muonlab {
namespace {

class RmsProp final : public ElementwiseRule {
 public:
  OptionTable options() override {
    return OptionBuilder()
        .number("rmsprop.alpha", alpha_, {.min = 0, .max = 1, .open_max = true},
                "factor of the running mean of the squared gradient")
        .number("rmsprop.eps", eps_, {.min = 0, .max = 1, .open_min = true},
                "added to the root of the mean square")
        .boolean("rmsprop.centered", centered_, "divide by the deviation from the mean gradient")
        .number("rmsprop.momentum", momentum_, {.min = 0, .max = 1, .open_max = true},
                "factor of the running sum of the directions")
        .boolean("rmsprop.l2", l2_, "the decay joins the gradient, as in PyTorch")
        .table();
  }
  std::vector<StateSpec> state(const ParamInfo&) const override {
    std::vector<StateSpec> specs{{"v"}};
    if (centered_) specs.push_back({"mean"});
    if (momentum_ > 0) specs.push_back({"momentum"});
    return specs;
  }
  bool decays() const override { return l2_; }
  bool follows_signs() const override { return momentum_ == 0 && !l2_; }

  Lane direction(const StepInfo&, Lanes& p) const override {
    const Lane g = l2_ ? p.g + p.decay * p.w : p.g;
    Lane& v = p.state[0];
    v = ema(v, g * g, alpha_);
    Lane variance = v;
    if (centered_) {
      Lane& n = p.state[1];
      n = ema(n, g, alpha_);
      variance = max(v - n * n, 0.0);  // not below, by rounding
    }
    const Lane u = g / (sqrt(variance) + eps_);
    if (momentum_ == 0) return u;
    Lane& b = p.state.back();
    return b = momentum_ * b + u;
  }

 private:
  double alpha_ = 0.99, eps_ = 1e-8, momentum_ = 0;
  bool centered_ = false, l2_ = false;
};

}  // namespace

std::unique_ptr<Rule> make_rmsprop() { return std::make_unique<RmsProp>(); }

}  // namespace muonlab

// Stochastic gradient descent with heavy-ball momentum (Polyak 1964), or Nesterov's in the form of
// Sutskever et al. 2013, "On the importance of initialization and momentum", as PyTorch writes it:
//   b = g in the first update, then mu b + (1 - dampening) g
//   u = b, or g + mu b (Nesterov)
// l2: of g + decay w in place of g.
#include "optim/rule.h"

namespace muonlab {
namespace {

class Sgd final : public ElementwiseRule {
 public:
  OptionTable options() override {
    return OptionBuilder()
        .number("sgd.momentum", momentum_, {.min = 0, .max = 1, .open_max = true},
                "factor of the running sum of the gradient")
        .number("sgd.dampening", dampening_, {.min = 0, .max = 1},
                "what the sum leaves of each gradient but the first: 1 - dampening")
        .boolean("sgd.nesterov", nesterov_, "look ahead along the momentum")
        .boolean("sgd.l2", l2_, "the decay joins the gradient, as in PyTorch")
        .table();
  }
  std::vector<StateSpec> state(const ParamInfo&) const override {
    if (momentum_ == 0) return {};
    return {{"momentum"}};
  }
  std::string unused(const std::string& option) const override {
    if (momentum_ == 0 && (option == "sgd.dampening" || option == "sgd.nesterov"))
      return "there is no momentum";
    return "";
  }
  bool decays() const override { return l2_; }
  bool follows_signs() const override { return momentum_ == 0 && !l2_; }

  Lane direction(const StepInfo& step, Lanes& p) const override {
    const Lane g = l2_ ? p.g + p.decay * p.w : p.g;
    if (momentum_ == 0) return g;
    Lane& b = p.state[0];
    b = momentum_ * b + (step.t == 1 ? 1 : 1 - dampening_) * g;
    return nesterov_ ? g + momentum_ * b : b;
  }

 private:
  double momentum_ = 0.9, dampening_ = 0;
  bool nesterov_ = false, l2_ = false;
};

}  // namespace

std::unique_ptr<Rule> make_sgd() { return std::make_unique<Sgd>(); }

}  // namespace muonlab

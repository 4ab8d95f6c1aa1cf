// Stochastic gradient descent with heavy-ball momentum (Polyak 1964), or Nesterov's in the form of
// Sutskever et al. 2013, "On the importance of initialization and momentum", as PyTorch writes it:
//   b = mu b + g
//   u = b, or g + mu b (Nesterov)
#include "optim/rule.h"

namespace muonlab {
namespace {

class Sgd final : public ElementwiseRule {
 public:
  OptionTable options() override {
    return OptionBuilder()
        .number("sgd.momentum", momentum_, {.min = 0, .max = 1, .open_max = true},
                "factor of the running sum of the gradient")
        .boolean("sgd.nesterov", nesterov_, "look ahead along the momentum")
        .table();
  }
  std::vector<StateSpec> state(const ParamInfo&) const override { return {{"momentum"}}; }

  Lane direction(const StepInfo&, Lanes& p) const override {
    Lane& b = p.state[0];
    b = momentum_ * b + p.g;
    return nesterov_ ? p.g + momentum_ * b : b;
  }

 private:
  double momentum_ = 0.9;
  bool nesterov_ = false;
};

}  // namespace

std::unique_ptr<Rule> make_sgd() { return std::make_unique<Sgd>(); }

}  // namespace muonlab

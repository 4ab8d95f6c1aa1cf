// Bernstein et al. 2018, "signSGD: compressed optimisation for non-convex problems", algorithm 2:
//   m = mu m + (1 - mu) g
//   u = sign(m)
#include "optim/rule.h"
#include "optim/steps/moments.h"

namespace muonlab {
namespace {

class Signum final : public ElementwiseRule {
 public:
  OptionTable options() override {
    return OptionBuilder()
        .number("signum.momentum", momentum_, {.min = 0, .max = 1, .open_max = true},
                "factor of the running mean of the gradient")
        .table();
  }
  std::vector<StateSpec> state(const ParamInfo&) const override { return {{"momentum"}}; }

  Lane direction(const StepInfo&, Lanes& p) const override {
    Lane& m = p.state[0];
    m = ema(m, p.g, momentum_);
    return sign(m);
  }

 private:
  double momentum_ = 0.9;
};

}  // namespace

std::unique_ptr<Rule> make_signum() { return std::make_unique<Signum>(); }

}  // namespace muonlab

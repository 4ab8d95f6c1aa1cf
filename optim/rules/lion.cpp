// Chen et al. 2023, "Symbolic discovery of optimization algorithms", algorithm 2 (the decay is the
// driver's):
//   u = sign(b1 m + (1 - b1) g)
//   m = b2 m + (1 - b2) g
#include "optim/rule.h"
#include "optim/steps/moments.h"

namespace muonlab {
namespace {

class Lion final : public ElementwiseRule {
 public:
  OptionTable options() override {
    return OptionBuilder()
        .number("lion.beta1", beta1_, {.min = 0, .max = 1, .open_max = true},
                "weight of the running mean in the direction, beside the gradient")
        .number("lion.beta2", beta2_, {.min = 0, .max = 1, .open_max = true},
                "factor of the running mean of the gradient")
        .table();
  }
  std::vector<StateSpec> state(const ParamInfo&) const override { return {{"m"}}; }

  Lane direction(const StepInfo&, Lanes& p) const override {
    Lane& m = p.state[0];
    const Lane u = sign(ema(m, p.g, beta1_));
    m = ema(m, p.g, beta2_);
    return u;
  }

 private:
  double beta1_ = 0.9, beta2_ = 0.99;
};

}  // namespace

std::unique_ptr<Rule> make_lion() { return std::make_unique<Lion>(); }

}  // namespace muonlab

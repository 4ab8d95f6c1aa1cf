// Taniguchi et al. 2024, "ADOPT: modified Adam can converge with any beta2 with the optimal rate",
// algorithm 2 (the decay is the driver's). The first gradient starts v, and moves nothing; then,
// with the v of the update before,
//   x = g / max(sqrt(v), eps), within +-(t - 1)^(1/4) if clipped
//   m = b1 m + (1 - b1) x
//   u = m
//   v = b2 v + (1 - b2) g^2
#include <cmath>

#include "optim/rule.h"
#include "optim/steps/moments.h"

namespace muonlab {
namespace {

class Adopt final : public ElementwiseRule {
 public:
  OptionTable options() override {
    return OptionBuilder()
        .number("adopt.beta1", beta1_, {.min = 0, .max = 1, .open_max = true},
                "factor of the running mean of the normalised gradient")
        .number("adopt.beta2", beta2_, {.min = 0, .max = 1, .open_max = true},
                "factor of the running mean of the squared gradient")
        .number("adopt.eps", eps_, {.min = 0, .max = 1, .open_min = true},
                "smallest number that a gradient is divided by")
        .boolean("adopt.clip", clip_, "bound the normalised gradient by the fourth root of t - 1")
        .table();
  }
  std::vector<StateSpec> state(const ParamInfo&) const override { return {{"m"}, {"v"}}; }

  Lane direction(const StepInfo& step, Lanes& p) const override {
    Lane &m = p.state[0], &v = p.state[1];
    if (step.t == 1) {
      v = p.g * p.g;
      return m;  // 0
    }
    Lane x = p.g / max(sqrt(v), eps_);
    const double bound = std::pow(static_cast<double>(step.t - 1), 0.25);
    if (clip_) x = min(max(x, -bound), bound);
    m = ema(m, x, beta1_);
    v = ema(v, p.g * p.g, beta2_);
    return m;
  }

 private:
  double beta1_ = 0.9, beta2_ = 0.9999, eps_ = 1e-6;
  bool clip_ = true;
};

}  // namespace

std::unique_ptr<Rule> make_adopt() { return std::make_unique<Adopt>(); }

}  // namespace muonlab

// Kingma, Ba 2014, "Adam", algorithm 1; Loshchilov, Hutter 2017, "Decoupled weight decay
// regularization", algorithm 2 (the decay is the driver's):
//   m = b1 m + (1 - b1) g        v = b2 v + (1 - b2) g^2
//   u = (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
#include <cmath>

#include "core/math.h"
#include "optim/rule.h"
#include "optim/steps/moments.h"

namespace muonlab {
namespace {

class AdamW final : public Rule {
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
  std::vector<std::string> state_names() const override { return {"m", "v"}; }

  void direction(const StepInfo& step, std::span<Slot> slots) const override {
    const double c1 = bias_correction(beta1_, step.t), c2 = bias_correction(beta2_, step.t);
    for (Slot& s : slots) {
      Tensor &m = s.state[0], &v = s.state[1];
      ema(m, s.g, beta1_);
      ema_square(v, s.g, beta2_);
      math::adam_ratio(s.u, 1 / c1, m, 1 / std::sqrt(c2), v, eps_);
    }
  }

 private:
  double beta1_ = 0.9, beta2_ = 0.99, eps_ = 1e-8;
};

}  // namespace

std::unique_ptr<Rule> make_adamw() { return std::make_unique<AdamW>(); }

}  // namespace muonlab

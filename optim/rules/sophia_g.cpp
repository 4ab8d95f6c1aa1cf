// Liu et al. 2023, "Sophia: a scalable stochastic second-order optimizer", algorithm 3 with the
// Gauss-Newton-Bartlett estimator, algorithm 2 (the decay is the driver's). Every k updates, from
// the gradient y of the mean loss of B tokens against labels drawn from the model,
//   h = b2 h + (1 - b2) B y^2
// and in every update
//   m = b1 m + (1 - b1) g
//   u = sign(m) min(|m| / (rho h + 1e-15), 1)
#include "optim/rule.h"
#include "optim/steps/moments.h"

namespace muonlab {
namespace {

class SophiaG final : public ElementwiseRule {
 public:
  OptionTable options() override {
    return OptionBuilder()
        .number("sophia_g.beta1", beta1_, {.min = 0, .max = 1, .open_max = true},
                "factor of the running mean of the gradient")
        .number("sophia_g.beta2", beta2_, {.min = 0, .max = 1, .open_max = true},
                "factor of the running mean of the curvature")
        .number("sophia_g.rho", rho_, {.min = 0, .max = 1000},
                "factor of the curvature; larger: fewer elements move by the whole rate")
        .integer("sophia_g.interval", interval_, {.min = 1, .max = 1e9},
                 "updates between two estimates of the curvature")
        .table();
  }
  std::vector<StateSpec> state(const ParamInfo&) const override { return {{"m"}, {"h"}}; }
  std::int64_t sampling_interval() const override { return interval_; }

  void observe(const StepInfo& step, Lanes& p) const override {
    Lane& h = p.state[1];
    h = ema(h, static_cast<double>(step.tokens) * (p.g * p.g), beta2_);
  }
  Lane direction(const StepInfo&, Lanes& p) const override {
    Lane& m = p.state[0];
    const Lane& h = p.state[1];
    m = ema(m, p.g, beta1_);
    return sign(m) * min(abs(m) / (rho_ * h + 1e-15), 1.0);
  }

 private:
  double beta1_ = 0.965, beta2_ = 0.99, rho_ = 0.04;
  std::int64_t interval_ = 10;
};

}  // namespace

std::unique_ptr<Rule> make_sophia_g() { return std::make_unique<SophiaG>(); }

}  // namespace muonlab

// Our own definition, from no paper: Adam on a gradient from which surprises are cut. With the m
// and v of the step before, after t0 steps:
//   sigma = sqrt(max(v - m^2, 0)) + eps       r = g - m
//   g' = g - filter (r - clip(r, -gamma sigma, gamma sigma))       (g' = g until then)
//   m = b1 m + (1 - b1) g'       v = b2 v + (1 - b2) g'^2
//   u = m / (sqrt(v) + eps)
#include "optim/rule.h"
#include "optim/steps/moments.h"

namespace muonlab {
namespace {

class FilteredAdam final : public ElementwiseRule {
 public:
  OptionTable options() override {
    return OptionBuilder()
        .number("filtered_adam.beta1", beta1_, {.min = 0, .max = 1, .open_max = true},
                "factor of the running mean of the filtered gradient")
        .number("filtered_adam.beta2", beta2_, {.min = 0, .max = 1, .open_max = true},
                "factor of the running mean of its square")
        .number("filtered_adam.eps", eps_, {.min = 0, .max = 1, .open_min = true},
                "added to the deviation and to the root mean square")
        .number("filtered_adam.filter", filter_, {.min = 0, .max = 1},
                "share of a surprise beyond gamma deviations that is cut")
        .number("filtered_adam.gamma", gamma_, {.min = 0, .open_min = true},
                "deviations from the mean that pass whole")
        .integer("filtered_adam.t0", t0_, {.min = 1, .max = 1e9}, "updates before the filter acts")
        .boolean("filtered_adam.bias_correction", bias_correction_,
                 "divide the running means by the weight that they have collected")
        .table();
  }
  std::vector<StateSpec> state(const ParamInfo&) const override { return {{"m"}, {"v"}}; }

  Lane direction(const StepInfo& step, Lanes& p) const override {
    Lane &m = p.state[0], &v = p.state[1];
    Lane g = p.g;
    if (step.t > t0_) {
      const Lane bound = gamma_ * (sqrt(max(v - m * m, 0.0)) + eps_), r = g - m;
      g = g - filter_ * (r - max(min(r, bound), -bound));
    }
    m = ema(m, g, beta1_);
    v = ema(v, g * g, beta2_);
    if (!bias_correction_) return m / (sqrt(v) + eps_);
    const double c1 = muonlab::bias_correction(beta1_, step.t),
                 c2 = muonlab::bias_correction(beta2_, step.t);
    return (m / c1) / (sqrt(v / c2) + eps_);
  }

 private:
  double beta1_ = 0.9, beta2_ = 0.999, eps_ = 1e-8, filter_ = 0.5, gamma_ = 3;
  std::int64_t t0_ = 10;
  bool bias_correction_ = false;
};

}  // namespace

std::unique_ptr<Rule> make_filtered_adam() { return std::make_unique<FilteredAdam>(); }

}  // namespace muonlab

// Pagliardini et al. 2024, "The AdEMAMix optimizer: better, faster, older", algorithm 1 (the decay
// is the driver's):
//   m1 = b1 m1 + (1 - b1) g        m2 = b3(t) m2 + (1 - b3(t)) g        v = b2 v + (1 - b2) g^2
//   u = (m1 / (1 - b1^t) + alpha(t) m2) / (sqrt(v / (1 - b2^t)) + eps)
// Over the first T updates alpha(t) rises straight to alpha, and the half-life of b3(t) from that
// of b1 to that of b3:
//   alpha(t) = min(t / T, 1) alpha
//   1 / ln b3(t) = (1 - t / T) / ln b1 + (t / T) / ln b3
#include <algorithm>
#include <cmath>

#include "optim/rule.h"
#include "optim/steps/moments.h"

namespace muonlab {
namespace {

class AdEmaMix final : public ElementwiseRule {
 public:
  OptionTable options() override {
    return OptionBuilder()
        .number("ademamix.beta1", beta1_, {.min = 0, .max = 1, .open_min = true, .open_max = true},
                "factor of the fast running mean of the gradient")
        .number("ademamix.beta2", beta2_, {.min = 0, .max = 1, .open_max = true},
                "factor of the running mean of its square")
        .number("ademamix.beta3", beta3_, {.min = 0, .max = 1, .open_min = true, .open_max = true},
                "factor of the slow running mean of the gradient")
        .number("ademamix.alpha", alpha_, {.min = 0, .max = 1000},
                "weight of the slow mean beside the fast one")
        .integer("ademamix.warmup", warmup_, {.min = 0, .max = 1e9},
                 "updates over which alpha and beta3 grow; the paper's is the whole run")
        .number("ademamix.eps", eps_, {.min = 0, .max = 1, .open_min = true},
                "added to the root of the mean square")
        .table();
  }
  std::vector<StateSpec> state(const ParamInfo&) const override {
    return {{"fast"}, {"slow"}, {"v"}};
  }
  std::string unused(const std::string& option) const override {
    if (alpha_ == 0 && (option == "ademamix.beta3" || option == "ademamix.warmup"))
      return "the slow mean has no weight";
    return "";
  }

  Lane direction(const StepInfo& step, Lanes& p) const override {
    const double grown =
        warmup_ == 0 ? 1
                     : std::min(1.0, static_cast<double>(step.t) / static_cast<double>(warmup_));
    const double beta3 = std::exp(1 / ((1 - grown) / std::log(beta1_) + grown / std::log(beta3_)));
    Lane &m1 = p.state[0], &m2 = p.state[1], &v = p.state[2];
    m1 = ema(m1, p.g, beta1_);
    m2 = ema(m2, p.g, beta3);
    v = ema(v, p.g * p.g, beta2_);
    const double c1 = bias_correction(beta1_, step.t), c2 = bias_correction(beta2_, step.t);
    return (m1 / c1 + grown * alpha_ * m2) / (sqrt(v / c2) + eps_);
  }

 private:
  double beta1_ = 0.9, beta2_ = 0.999, beta3_ = 0.9999, alpha_ = 5, eps_ = 1e-8;
  std::int64_t warmup_ = 0;
};

}  // namespace

std::unique_ptr<Rule> make_ademamix() { return std::make_unique<AdEmaMix>(); }

}  // namespace muonlab

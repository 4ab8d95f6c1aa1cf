// Yuan et al. 2024, "MARS: unleashing the power of variance reduction for training large models",
// algorithm 2 (MARS-AdamW) with the gradient of the update before in place of its batch at the
// weights before (their approximate form); the decay is the driver's:
//   c = g + gamma b1 / (1 - b1) (g - g'), of length 1 at most;  g' = g in the first update
//   m = b1 m + (1 - b1) c        v = b2 v + (1 - b2) c^2
//   u = (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
// As in the authors' code, the length is that of one parameter, and vectors go to another rule.
#include <algorithm>
#include <cmath>

#include "core/math.h"
#include "optim/rule.h"
#include "optim/steps/moments.h"

namespace muonlab {
namespace {

class Mars final : public MatrixRule {
 public:
  OptionTable options() override {
    return OptionBuilder()
        .number("mars.beta1", beta1_, {.min = 0, .max = 1, .open_max = true},
                "factor of the running mean of the corrected gradient")
        .number("mars.beta2", beta2_, {.min = 0, .max = 1, .open_max = true},
                "factor of the running mean of its square")
        .number("mars.eps", eps_, {.min = 0, .max = 1, .open_min = true},
                "added to the root of the mean square")
        .number("mars.gamma", gamma_, {.min = 0, .max = 10}, "strength of the correction")
        .table();
  }
  std::vector<StateSpec> state(const ParamInfo&) const override {
    return {{"m"}, {"v"}, {"last_g"}};
  }
  bool takes(ParamKind kind) const override {
    return kind != ParamKind::gain && kind != ParamKind::bias;
  }

  void direction(const StepInfo& step, std::span<Slot> slots) const override {
    for_elements(slots, [&](Lanes& p) {  // c
      Lane& last = p.state[2];
      const Lane c = step.t == 1 ? p.g : p.g + gamma_ * beta1_ / (1 - beta1_) * (p.g - last);
      last = p.g;
      return c;
    });

    std::vector<Tensor> corrected;
    for (const Slot& s : slots) corrected.push_back(s.u);
    const std::vector<double> squares = math::sum_squares(corrected);

    enum : int { kU, kM, kV };
    ElementwiseBuilder f;
    const Lane c = f.scalar(0) * f.column(kU);
    const Lane m = ema(f.column(kM), c, beta1_), v = ema(f.column(kV), c * c, beta2_);
    const double c1 = bias_correction(beta1_, step.t), c2 = bias_correction(beta2_, step.t);
    f.store(kM, m);
    f.store(kV, v);
    f.store(kU, (m / c1) / (sqrt(v / c2) + eps_));
    std::vector<ElementRow> rows;
    for (std::size_t i = 0; i < slots.size(); ++i)
      rows.push_back({{slots[i].u, slots[i].state[0], slots[i].state[1]},
                      {1 / std::max(1.0, std::sqrt(squares[i]))}});
    math::elementwise(f.program(), rows);
  }

 private:
  double beta1_ = 0.95, beta2_ = 0.99, eps_ = 1e-8, gamma_ = 0.025;
};

}  // namespace

std::unique_ptr<Rule> make_mars() { return std::make_unique<Mars>(); }

}  // namespace muonlab

// Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"; scale `rms`: Liu
// et al. 2025, "Muon is scalable for LLM training", section 2.2. For each matrix of a parameter:
//   M = mu M + (1 - mu) G
//   U = (1 - mu) G + mu M (Nesterov), or M
//   u = s(rows, cols) O,  O = orthogonalise(U) by Newton-Schulz
#include "optim/rule.h"
#include "optim/steps/matrix_view.h"
#include "optim/steps/moments.h"
#include "optim/steps/newton_schulz.h"
#include "optim/steps/shape_scale.h"

namespace muonlab {
namespace {

class Muon final : public MatrixRule {
 public:
  OptionTable options() override {
    return OptionBuilder()
        .number("muon.momentum", momentum_, {.min = 0, .max = 1, .open_max = true},
                "factor of the running mean of the gradient")
        .boolean("muon.nesterov", nesterov_, "look ahead along the momentum")
        .integer("muon.ns_steps", ns_steps_, {.min = 1, .max = 100}, "Newton-Schulz iterations")
        .number("muon.eps", eps_, {.min = 0, .max = 1, .open_min = true},
                "smallest Frobenius norm that a matrix is divided by")
        .enumeration("muon.scale", scale_, {"rms", "spectral"},
                     "length of the update: rms kappa sqrt(max(r, c)), spectral sqrt(max(1, r/c))")
        .number("muon.kappa", kappa_, {.min = 0, .max = 10, .open_min = true},
                "scale rms: root mean square of an element of the update before the rate")
        .table();
  }
  std::vector<StateSpec> state(const ParamInfo&) const override { return {{"momentum"}}; }
  bool takes(ParamKind kind) const override {
    return kind == ParamKind::matrix || kind == ParamKind::expert;
  }
  std::string seen_as(const ParamInfo& info) const override { return MatrixView(info).str(); }

  void direction(const StepInfo&, std::span<Slot> slots) const override {
    for_elements(slots, [&](Lanes& p) {
      Lane& m = p.state[0];
      m = ema(m, p.g, momentum_);
      return nesterov_ ? nesterov(m, p.g, momentum_) : m;
    });
    std::vector<Tensor> matrices;
    std::vector<double> scales;
    for (const Slot& s : slots)
      for (Tensor& block : MatrixView(*s.info).split(s.u)) {
        scales.push_back(shape_scale(scale_, block.shape(), kappa_));
        matrices.push_back(std::move(block));
      }
    const std::vector<Quintic> steps(static_cast<std::size_t>(ns_steps_), kJordan);
    newton_schulz(matrices, steps, eps_, scales);
  }

 private:
  double momentum_ = 0.95;
  bool nesterov_ = true;
  std::int64_t ns_steps_ = 5;
  double eps_ = 1e-7;
  ShapeScale scale_ = ShapeScale::rms;
  double kappa_ = 0.2;
};

}  // namespace

std::unique_ptr<Rule> make_muon() { return std::make_unique<Muon>(); }

}  // namespace muonlab

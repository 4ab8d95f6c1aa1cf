// Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"; scale `rms`: Liu
// et al. 2025, "Muon is scalable for LLM training", section 2.2. For each matrix of a parameter:
//   M = mu M + (1 - mu) G
//   U = (1 - mu) G + mu M (Nesterov), or M
//   u = s(rows, cols) O,  O = orthogonalise(U) by Newton-Schulz

#include <utility>

#include "optim/rule.h"
#include "optim/steps/matrix_view.h"
#include "optim/steps/moments.h"
#include "optim/steps/orthogonalize.h"
#include "optim/steps/shape_scale.h"

namespace muonlab {
namespace {

struct Settings {
  MomentumForm form = MomentumForm::lerp;
  double momentum = 0.95;
  bool nesterov = true;
  Orthogonalization orth{};
  ShapeScale scale = ShapeScale::rms;
  double kappa = 0.2;
};

struct MuonPreset {
  const char* name;
  Settings settings;
};

const std::vector<MuonPreset>& muon_presets() {
  const Orthogonalization added{.eps_form = EpsForm::add};
  static const std::vector<MuonPreset> all{
      {"muonlab", {}},
      // KellerJordan/Muon, muon.py
      {"keller", {.orth = added, .scale = ShapeScale::spectral}},
      // MoonshotAI/Moonlight, examples/toy_train.py
      {"moonlight", {.form = MomentumForm::sum, .orth = added}},
      // torch.optim.Muon, adjust_lr_fn "original"
      {"torch", {.scale = ShapeScale::spectral}},
      // optax.contrib.muon
      {"optax",
       {.form = MomentumForm::mean_corrected,
        .orth = {.eps = 1e-8, .eps_form = EpsForm::add},
        .scale = ShapeScale::spectral}},
      // keras.optimizers.Muon
      {"keras", {.form = MomentumForm::sum, .orth = added}},
      // microsoft/dion, muon.py with the Polar Express list of dion/polar_express.py
      {"dion",
       {.form = MomentumForm::sum,
        .nesterov = false,
        .orth = {.coefficients = "8.156554524902461 -22.48329292557795 15.878769915207462; "
                                 "4.042929935166739 -2.808917465908714 0.5000178451051316; "
                                 "3.8916678022926607 -2.772484153217685 0.5060648178503393; "
                                 "3.285753657755655 -2.3681294933425376 0.46449024233003106; "
                                 "2.3465413258596377 -1.7097828382687081 0.42323551169305323",
                 .eps = 1e-6,
                 .eps_form = EpsForm::add,
                 .safety = 1.02},
        .scale = ShapeScale::spectral_full}},
      // HomebrewML/HeavyBall
      {"heavyball",
       {.momentum = 0.9, .orth = {.coefficients = "you5"}, .scale = ShapeScale::spectral}},
      // DeepSeek-V4
      {"v4", {.form = MomentumForm::sum, .orth = {.coefficients = "v4"}, .kappa = 0.18}},
  };
  return all;
}

class Muon final : public MatrixRule {
 public:
  OptionTable options() override {
    OptionTable table =
        OptionBuilder()
            .number("muon.momentum", s_.momentum, {.min = 0, .max = 1, .open_max = true},
                    "factor of the running mean of the gradient")
            .enumeration("muon.form", s_.form, {"lerp", "sum", "mean_corrected"},
                         "running mean, running sum, or bias-corrected mean of the gradient")
            .boolean("muon.nesterov", s_.nesterov, "look ahead along the momentum")
            .enumeration("muon.split", split_, {"none", "qkv", "head"},
                         "what of packed q, k, v is a matrix of its own")
            .enumeration("muon.scale", s_.scale,
                         {"rms", "spectral", "spectral_full", "sqrtmax", "none"},
                         "length of the update: rms kappa sqrt(max(r, c)), spectral sqrt(max(1, "
                         "r/c)), spectral_full sqrt(r/c), sqrtmax sqrt(max(r, c)), none 1")
            .number("muon.kappa", s_.kappa, {.min = 0, .max = 10, .open_min = true},
                    "scale rms: root mean square of an element of the update before the rate")
            .choice("muon.preset", preset_, preset_names(),
                    "whose Muon: values for the other options of muon, where these are not given")
            .table();
    Option& preset = table.back();
    preset.set = [this, set = preset.set](const std::string& name) {
      set(name);
      for (const MuonPreset& p : muon_presets())
        if (name == p.name) s_ = p.settings;
    };
    for (Option& option : muonlab::options(s_.orth, "muon")) table.push_back(std::move(option));
    return table;
  }
  std::vector<StateSpec> state(const ParamInfo&) const override { return {{"momentum"}}; }
  bool takes(ParamKind kind) const override {
    return kind == ParamKind::matrix || kind == ParamKind::expert;
  }
  std::string seen_as(const ParamInfo& info) const override {
    return MatrixView(info, split_).str();
  }
  std::string unused(const std::string& option) const override {
    if (option == "muon.kappa" && s_.scale != ShapeScale::rms) return "only scale rms has a kappa";
    return muonlab::unused(s_.orth, option);
  }

  void direction(const StepInfo& step, std::span<Slot> slots) const override {
    for_elements(slots, [&](Lanes& p) {
      return momentum(s_.form, p.state[0], p.g, s_.momentum, s_.nesterov, step.t);
    });
    std::vector<Tensor> matrices;
    std::vector<double> scales;
    for (const Slot& s : slots)
      for (Tensor& matrix : MatrixView(*s.info, split_).split(s.u)) {
        scales.push_back(shape_scale(s_.scale, matrix.shape(), s_.kappa));
        matrices.push_back(std::move(matrix));
      }
    orthogonalize(matrices, s_.orth, scales);
  }

 private:
  static std::vector<std::string> preset_names() {
    std::vector<std::string> names;
    for (const MuonPreset& p : muon_presets()) names.emplace_back(p.name);
    return names;
  }

  std::string preset_ = "muonlab";
  Settings s_;
  Split split_ = Split::qkv;
};

}  // namespace

std::unique_ptr<Rule> make_muon() { return std::make_unique<Muon>(); }

}  // namespace muonlab

// Si et al. 2025, "AdaMuon: adaptive Muon optimizer", algorithm 1, in the form of the authors'
// code. For each matrix of a parameter:
//   M = mu M + (1 - mu) G
//   O = orthogonalise(sign((1 - mu) G + mu M))
//   v = mu v + (1 - mu) O^2
//   N = O / (sqrt(v) + eps)
//   u = kappa sqrt(rows cols) N / (|N|_F + eps)
#include <cmath>

#include "core/math.h"
#include "optim/rule.h"
#include "optim/steps/matrix_view.h"
#include "optim/steps/moments.h"
#include "optim/steps/orthogonalize.h"
#include "optim/steps/rows.h"

namespace muonlab {
namespace {

class AdaMuon final : public MatrixRule {
 public:
  OptionTable options() override {
    OptionTable table =
        OptionBuilder()
            .number("adamuon.momentum", momentum_, {.min = 0, .max = 1, .open_max = true},
                    "factor of the running means of the gradient and of the squares")
            .number("adamuon.kappa", kappa_, {.min = 0, .max = 10, .open_min = true},
                    "root mean square of an element of the update before the rate")
            .number("adamuon.v_eps", v_eps_, {.min = 0, .max = 1, .open_min = true},
                    "added to the root mean square of an element, and to the norm")
            .table();
    for (Option& option : muonlab::options(orth_, "adamuon", false))
      table.push_back(std::move(option));
    return table;
  }
  std::vector<StateSpec> state(const ParamInfo&) const override { return {{"momentum"}, {"v"}}; }
  bool takes(ParamKind kind) const override {
    return kind == ParamKind::matrix || kind == ParamKind::expert;
  }
  std::string seen_as(const ParamInfo& info) const override { return MatrixView(info).str(); }
  std::string unused(const std::string& option) const override {
    return muonlab::unused(orth_, option);
  }

  void direction(const StepInfo&, std::span<Slot> slots) const override {
    for_elements(
        slots,
        [&](Lanes& p) {
          p.state[0] = ema(p.state[0], p.g, momentum_);
          return sign(nesterov(p.state[0], p.g, momentum_));
        },
        1);
    std::vector<Tensor> o;
    for (const Slot& s : slots)
      for (Tensor& matrix : MatrixView(*s.info).split(s.u)) o.push_back(std::move(matrix));
    orthogonalize(o, orth_, std::vector<double>(o.size(), 1));
    for (Slot& s : slots)
      on_elements({s.u, s.state[1]}, [&](std::span<Lane> l) {
        l[1] = ema(l[1], l[0] * l[0], momentum_);
        l[0] = l[0] / (sqrt(l[1]) + v_eps_);
      });
    const std::vector<double> squares = math::sum_squares(o);
    for (std::size_t i = 0; i < o.size(); ++i)
      math::axpby(
          o[i],
          kappa_ * std::sqrt(static_cast<double>(o[i].numel())) / (std::sqrt(squares[i]) + v_eps_),
          o[i], 0);
  }

 private:
  double momentum_ = 0.95, kappa_ = 0.2, v_eps_ = 1e-8;
  Orthogonalization orth_;
};

}  // namespace

std::unique_ptr<Rule> make_adamuon() { return std::make_unique<AdaMuon>(); }

}  // namespace muonlab

// Li et al. 2025, "NorMuon: making Muon more efficient and scalable", algorithm 1, in the form of
// the authors' code. For each matrix of a parameter:
//   M = mu M + (1 - mu) G
//   O = orthogonalise((1 - mu) G + mu M)
//   v = b2 v + (1 - b2) mean_columns(O^2)
//   N = O / (sqrt(v) + 1e-10), row by row
//   u = sqrt(max(1, rows / cols)) N |O|_F / |N|_F
// v is not corrected for its start from zero: a common factor cancels in the last line.
#include <cmath>

#include "core/math.h"
#include "optim/rule.h"
#include "optim/steps/matrix_state.h"
#include "optim/steps/matrix_view.h"
#include "optim/steps/moments.h"
#include "optim/steps/orthogonalize.h"
#include "optim/steps/rows.h"
#include "optim/steps/shape_scale.h"

namespace muonlab {
namespace {

Shape one_per_row(const Shape& matrix) { return {matrix[0], 1}; }

class NorMuon final : public MatrixRule {
 public:
  OptionTable options() override {
    OptionTable table =
        OptionBuilder()
            .number("normuon.momentum", momentum_, {.min = 0, .max = 1, .open_max = true},
                    "factor of the running mean of the gradient")
            .number("normuon.beta2", beta2_, {.min = 0, .max = 1, .open_max = true},
                    "factor of the running mean square of a row of the orthogonal matrix")
            .table();
    for (Option& option : muonlab::options(orth_, "normuon")) table.push_back(std::move(option));
    return table;
  }
  std::vector<StateSpec> state(const ParamInfo& info) const override {
    return {{"momentum"}, matrix_state("row_squares", MatrixView(info), one_per_row)};
  }
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
          return nesterov(p.state[0], p.g, momentum_);
        },
        1);
    std::vector<Tensor> o, v;
    for (Slot& s : slots) {
      const MatrixView view(*s.info);
      for (Tensor& matrix : view.split(s.u)) o.push_back(std::move(matrix));
      for (Tensor& part : parts(s.state[1], view, one_per_row)) v.push_back(std::move(part));
    }
    orthogonalize(o, orth_, std::vector<double>(o.size(), 1));
    const std::vector<double> before = math::sum_squares(o);
    for (std::size_t i = 0; i < o.size(); ++i) {
      const auto cols = static_cast<double>(o[i].shape()[1]);
      const Tensor factors = row_sums(o[i], [](const Lane& x) { return x * x; });
      on_elements({factors, v[i]}, [&](std::span<Lane> l) {
        l[1] = ema(l[1], l[0] / cols, beta2_);
        l[0] = 1 / (sqrt(l[1]) + 1e-10);
      });
      scale_rows(o[i], factors);
    }
    const std::vector<double> after = math::sum_squares(o);
    for (std::size_t i = 0; i < o.size(); ++i)
      math::axpby(o[i],
                  shape_scale(ShapeScale::spectral, o[i].shape(), 0) * std::sqrt(before[i]) /
                      (std::sqrt(after[i]) + 1e-10),
                  o[i], 0);
  }

 private:
  double momentum_ = 0.95, beta2_ = 0.95;
  Orthogonalization orth_;
};

}  // namespace

std::unique_ptr<Rule> make_normuon() { return std::make_unique<NorMuon>(); }

}  // namespace muonlab

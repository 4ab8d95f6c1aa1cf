// microsoft/dion, dion2.py (2025): Muon on the rows that matter now, or on the columns of a tall
// matrix. For each matrix of a parameter:
//   M = M + G
//   K = the ceil(fraction side) rows of M with the largest sums of |M_ij|
//   u_K = sqrt(rows / cols) orthogonalise(M_K), zero elsewhere
//   M_K = mu M_K                             (what was not used is kept)
// Norms of rows go to the host, which chooses.
#include <algorithm>
#include <cmath>

#include "core/math.h"
#include "optim/rule.h"
#include "optim/steps/matrix_view.h"
#include "optim/steps/orthogonalize.h"
#include "optim/steps/rows.h"
#include "optim/steps/shape_scale.h"

namespace muonlab {
namespace {

using math::Op;

class Dion2 final : public MatrixRule {
 public:
  OptionTable options() override {
    OptionTable table =
        OptionBuilder()
            .number("dion2.momentum", momentum_, {.min = 0, .max = 1},
                    "what an update leaves of the rows of the momentum that it used")
            .number("dion2.fraction", fraction_, {.min = 0, .max = 1, .open_min = true},
                    "share of the rows (of a tall matrix: of the columns) in an update, rounded up")
            .table();
    for (Option& option : muonlab::options(orth_, "dion2")) table.push_back(std::move(option));
    return table;
  }
  std::vector<StateSpec> state(const ParamInfo&) const override { return {{"momentum"}}; }
  bool takes(ParamKind kind) const override {
    return kind == ParamKind::matrix || kind == ParamKind::expert;
  }
  std::string seen_as(const ParamInfo& info) const override { return MatrixView(info).str(); }
  std::string unused(const std::string& option) const override {
    return muonlab::unused(orth_, option);
  }

  void direction(const StepInfo&, std::span<Slot> slots) const override {
    for_elements(slots, [](Lanes& p) {
      p.state[0] = p.state[0] + p.g;
      return p.state[0];
    });
    struct Choice {
      Tensor m, u, chosen, part;
      bool tall;
    };
    std::vector<Choice> choices;
    std::vector<Tensor> selected;
    std::vector<double> scales;
    for (const Slot& s : slots) {
      const MatrixView view(*s.info);
      const std::vector<Tensor> m = view.split(s.state[0]), u = view.split(s.u);
      for (std::size_t i = 0; i < m.size(); ++i) {
        const std::int64_t rows = m[i].shape()[0], cols = m[i].shape()[1];
        const bool tall = rows > cols;
        const auto magnitude = [](const Lane& x) { return abs(x); };
        const Tensor sums = tall ? column_sums(m[i], magnitude) : row_sums(m[i], magnitude);
        const auto count = static_cast<std::int64_t>(
            std::ceil(fraction_ * static_cast<double>(std::min(rows, cols))));
        const Tensor chosen = largest_first(sums, count);
        Tensor part = Tensor::empty(tall ? Shape{rows, count} : Shape{count, cols}, m[i].dtype(),
                                    m[i].device());
        if (tall)
          math::gemm(part, m[i], Op::plain, chosen, Op::transposed);
        else
          math::gemm(part, chosen, Op::plain, m[i], Op::plain);
        choices.push_back({m[i], u[i], chosen, part, tall});
        scales.push_back(shape_scale(ShapeScale::spectral_full, m[i].shape(), 0));
      }
    }
    const auto scatter = [](Tensor& d, const Choice& c, double alpha, double beta) {
      if (c.tall)
        math::gemm(d, c.part, Op::plain, c.chosen, Op::plain, alpha, beta);
      else
        math::gemm(d, c.chosen, Op::transposed, c.part, Op::plain, alpha, beta);
    };
    for (Choice& c : choices) {
      scatter(c.m, c, momentum_ - 1, 1);
      selected.push_back(c.part);
    }
    orthogonalize(selected, orth_, scales);
    for (Choice& c : choices) scatter(c.u, c, 1, 0);
  }

 private:
  double momentum_ = 0.95, fraction_ = 0.25;
  Orthogonalization orth_;
};

}  // namespace

std::unique_ptr<Rule> make_dion2() { return std::make_unique<Dion2>(); }

}  // namespace muonlab

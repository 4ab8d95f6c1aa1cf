// Ahn et al. 2025, "Dion: distributed orthonormalized updates", algorithm 1. For each matrix of a
// parameter, (rows, cols), with Q (cols, k) from step to step:
//   M = M + G
//   P = orthonormal columns of M Q           (one step of the power iteration)
//   R = M^T P
//   M = M - (1 - mu) P R^T                   (what the rank cannot say is kept)
//   Q = R, each column divided by its norm
//   u = sqrt(rows / cols) P Q^T
// The QR decomposition runs on the host.
#include <algorithm>
#include <cmath>

#include "core/linalg.h"
#include "core/math.h"
#include "optim/rule.h"
#include "optim/steps/matrix_state.h"
#include "optim/steps/matrix_view.h"
#include "optim/steps/rows.h"
#include "optim/steps/shape_scale.h"

namespace muonlab {
namespace {

using math::Op;

class Dion final : public MatrixRule {
 public:
  OptionTable options() override {
    return OptionBuilder()
        .number("dion.momentum", momentum_, {.min = 0, .max = 1},
                "what the update leaves of the part of the momentum that it used")
        .number("dion.rank_fraction", fraction_, {.min = 0, .max = 1, .open_min = true},
                "rank of the update as a share of the smaller side, rounded up")
        .number("dion.eps", eps_, {.min = 0, .max = 1, .open_min = true},
                "added to the norm of a column")
        .table();
  }
  std::vector<StateSpec> state(const ParamInfo& info) const override {
    StateSpec q = matrix_state("q", MatrixView(info), right_side());
    q.start = StateSpec::Start::normal;
    return {{"momentum"}, std::move(q)};
  }
  bool takes(ParamKind kind) const override {
    return kind == ParamKind::matrix || kind == ParamKind::expert;
  }
  std::string seen_as(const ParamInfo& info) const override { return MatrixView(info).str(); }

  void direction(const StepInfo&, std::span<Slot> slots) const override {
    for_elements(
        slots,
        [](Lanes& p) {
          p.state[0] = p.state[0] + p.g;
          return p.state[0];
        },
        1);
    std::vector<Tensor> m, q, u, p;
    for (const Slot& s : slots) {
      const MatrixView view(*s.info);
      for (Tensor& matrix : view.split(s.state[0])) m.push_back(std::move(matrix));
      for (Tensor& part : parts(s.state[1], view, right_side())) q.push_back(std::move(part));
      for (Tensor& matrix : view.split(s.u)) u.push_back(std::move(matrix));
    }
    for (std::size_t i = 0; i < m.size(); ++i) {
      p.push_back(Tensor::empty({m[i].shape()[0], q[i].shape()[1]}, m[i].dtype(), m[i].device()));
      math::gemm(p[i], m[i], Op::plain, q[i], Op::plain);
    }
    linalg::orthonormal_columns(p, p);
    for (std::size_t i = 0; i < m.size(); ++i) {
      math::gemm(q[i], m[i], Op::transposed, p[i], Op::plain);
      math::gemm(m[i], p[i], Op::plain, q[i], Op::transposed, -(1 - momentum_), 1);
      const Tensor norms = column_sums(q[i], [](const Lane& x) { return x * x; });
      on_elements({norms}, [&](std::span<Lane> l) { l[0] = 1 / (sqrt(l[0]) + eps_); });
      scale_columns(q[i], norms);
      math::gemm(u[i], p[i], Op::plain, q[i], Op::transposed,
                 shape_scale(ShapeScale::spectral_full, u[i].shape(), 0));
    }
  }

 private:
  PartShape right_side() const {
    return [fraction = fraction_](const Shape& matrix) {
      const auto side = static_cast<double>(std::min(matrix[0], matrix[1]));
      return Shape{matrix[1], static_cast<std::int64_t>(std::ceil(fraction * side))};
    };
  }

  double momentum_ = 0.95, fraction_ = 1, eps_ = 1e-8;
};

}  // namespace

std::unique_ptr<Rule> make_dion() { return std::make_unique<Dion>(); }

}  // namespace muonlab

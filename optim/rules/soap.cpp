// Vyas et al. 2024, "SOAP: improving and stabilizing Shampoo using Adam", algorithm 3, in the form
// of the authors' code. Adam in the eigenbasis of Shampoo's preconditioners. For each matrix of a
// parameter, with L, R, and bases Ql, Qr of their eigenvectors; s counts updates from the second:
//   M = b1 M + (1 - b1) G
//   G' = Ql^T G Qr,  M' = Ql^T M Qr
//   v = b2 v + (1 - b2) G'^2
//   N = sqrt(1 - b2^s) / (1 - b1^s) Ql (M' / (sqrt(v) + eps)) Qr^T
//   L = b2 L + (1 - b2) G G^T,  R = b2 R + (1 - b2) G^T G
//   every `interval` updates: the columns of Q (and v with them) by falling diagonal of Q^T L Q,
//     then Q = qr(L Q).Q, one step of the power iteration
//   W = (1 - lr decay) (W - lr N)
// The first update makes L, R, Ql, Qr and nothing else. v is not turned when the bases are. The
// decompositions run on the host. A side above max_dim keeps its basis.
#include <cmath>

#include "core/linalg.h"
#include "core/math.h"
#include "optim/rule.h"
#include "optim/steps/matrix_state.h"
#include "optim/steps/matrix_view.h"
#include "optim/steps/moments.h"
#include "optim/steps/rows.h"

namespace muonlab {
namespace {

using math::Op;

/// One matrix of a parameter, and what SOAP keeps for it.
struct Matrix {
  Tensor g, u, m, v, left, right, left_basis, right_basis;
};

/// Ql x Qr^T, or Ql^T x Qr (into the basis).
Tensor turned(const Matrix& k, const Tensor& x, bool into) {
  Tensor now = x, next = Tensor::empty(x.shape(), x.dtype(), x.device());
  if (k.left.numel() > 0) {
    math::gemm(next, k.left_basis, into ? Op::transposed : Op::plain, now, Op::plain);
    now = next;
    next = Tensor::empty(x.shape(), x.dtype(), x.device());
  }
  if (k.right.numel() > 0) {
    math::gemm(next, now, Op::plain, k.right_basis, into ? Op::plain : Op::transposed);
    now = next;
  }
  return now;
}

class Soap final : public MatrixRule {
 public:
  OptionTable options() override {
    return OptionBuilder()
        .number("soap.beta1", beta1_, {.min = 0, .max = 1, .open_max = true},
                "factor of the running mean of the gradient")
        .number("soap.beta2", beta2_, {.min = 0, .max = 1, .open_max = true},
                "factor of the running means of its square in the eigenbasis")
        .number("soap.shampoo_beta", shampoo_beta_, {.min = 0, .max = 1, .open_max = true},
                "factor of the running means of G G^T and G^T G")
        .number("soap.eps", eps_, {.min = 0, .max = 1, .open_min = true},
                "added to the root mean square")
        .integer("soap.interval", interval_, {.min = 1, .max = 1e6},
                 "updates between two renewals of the bases")
        .integer("soap.max_dim", max_dim_, {.min = 1, .max = 1e6},
                 "largest side of a matrix that has a basis of its own")
        .table();
  }
  std::vector<StateSpec> state(const ParamInfo& info) const override {
    const MatrixView view(info);
    return {{"m"},
            {"v"},
            matrix_state("left", view, side(0)),
            matrix_state("right", view, side(1)),
            matrix_state("left_basis", view, side(0)),
            matrix_state("right_basis", view, side(1))};
  }
  bool takes(ParamKind kind) const override {
    return kind == ParamKind::matrix || kind == ParamKind::expert;
  }
  std::string seen_as(const ParamInfo& info) const override { return MatrixView(info).str(); }
  bool decays() const override { return true; }

  void direction(const StepInfo& step, std::span<Slot> slots) const override {
    std::vector<Matrix> matrices = matrices_of(slots);
    if (step.t == 1) {
      accumulate(matrices);
      std::vector<Tensor> stats, bases;
      for (const Matrix& k : matrices) {
        if (k.left.numel() > 0) stats.push_back(k.left), bases.push_back(k.left_basis);
        if (k.right.numel() > 0) stats.push_back(k.right), bases.push_back(k.right_basis);
      }
      linalg::eigenvectors(bases, stats);
      for (Slot& s : slots) s.u.fill(0);
      return;
    }
    const std::int64_t s = step.t - 1;
    const double size = std::sqrt(bias_correction(beta2_, s)) / bias_correction(beta1_, s);
    for (Matrix& k : matrices) {
      on_elements({k.m, k.g}, [&](std::span<Lane> l) { l[0] = ema(l[0], l[1], beta1_); });
      const Tensor g = turned(k, k.g, true), m = turned(k, k.m, true),
                   n = Tensor::empty(m.shape(), m.dtype(), m.device());
      on_elements({k.v, g, m, n}, [&](std::span<Lane> l) {
        l[0] = ema(l[0], l[1] * l[1], beta2_);
        l[3] = size * l[2] / (sqrt(l[0]) + eps_);
      });
      k.u.copy_from(turned(k, n, false));
    }
    accumulate(matrices);
    if (s % interval_ == 0) renew(matrices);
    for (Slot& slot : slots) math::axpby(slot.u, slot.decay, slot.w, 1 - step.lr * slot.decay);
  }

 private:
  PartShape side(int which) const {
    return [which, limit = max_dim_](const Shape& matrix) {
      const std::int64_t n = matrix[which];
      return n <= limit ? Shape{n, n} : Shape{0, 0};
    };
  }

  std::vector<Matrix> matrices_of(std::span<const Slot> slots) const {
    enum : std::size_t { kM, kV, kLeft, kRight, kLeftBasis, kRightBasis };
    std::vector<Matrix> all;
    for (const Slot& s : slots) {
      const MatrixView view(*s.info);
      const std::vector<Tensor> g = view.split(s.g), u = view.split(s.u),
                                m = view.split(s.state[kM]), v = view.split(s.state[kV]),
                                left = parts(s.state[kLeft], view, side(0)),
                                right = parts(s.state[kRight], view, side(1)),
                                left_basis = parts(s.state[kLeftBasis], view, side(0)),
                                right_basis = parts(s.state[kRightBasis], view, side(1));
      for (std::size_t i = 0; i < g.size(); ++i)
        all.push_back({g[i], u[i], m[i], v[i], left[i], right[i], left_basis[i], right_basis[i]});
    }
    return all;
  }

  void accumulate(std::span<Matrix> matrices) const {
    for (Matrix& k : matrices) {
      if (k.left.numel() > 0)
        math::gemm(k.left, k.g, Op::plain, k.g, Op::transposed, 1 - shampoo_beta_, shampoo_beta_,
                   true);
      if (k.right.numel() > 0)
        math::gemm(k.right, k.g, Op::transposed, k.g, Op::plain, 1 - shampoo_beta_, shampoo_beta_,
                   true);
    }
  }

  static void renew(std::span<Matrix> matrices) {
    std::vector<Tensor> bases, products;
    for (Matrix& k : matrices)
      for (const bool left : {true, false}) {
        const Tensor& stats = left ? k.left : k.right;
        const Tensor& basis = left ? k.left_basis : k.right_basis;
        if (stats.numel() == 0) continue;
        const auto fresh = [&] {
          return Tensor::empty(stats.shape(), stats.dtype(), stats.device());
        };
        Tensor product = fresh(), sorted = fresh(), diagonal = fresh();
        math::gemm(product, stats, Op::plain, basis, Op::plain);
        math::mul(diagonal, product, basis);
        const Tensor order =
            largest_first(column_sums(diagonal, [](const Lane& x) { return x; }), stats.shape()[0]);
        math::gemm(sorted, product, Op::plain, order, Op::transposed);
        const Tensor v = k.v.clone();
        if (left)
          math::gemm(k.v, order, Op::plain, v, Op::plain);
        else
          math::gemm(k.v, v, Op::plain, order, Op::transposed);
        bases.push_back(basis);
        products.push_back(sorted);
      }
    linalg::orthonormal_columns(bases, products);
  }

  double beta1_ = 0.95, beta2_ = 0.95, shampoo_beta_ = 0.95, eps_ = 1e-8;
  std::int64_t interval_ = 10, max_dim_ = 10000;
};

}  // namespace

std::unique_ptr<Rule> make_soap() { return std::make_unique<Soap>(); }

}  // namespace muonlab

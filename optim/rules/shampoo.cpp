// Gupta et al. 2018, "Shampoo: preconditioned stochastic tensor optimization", algorithm 1, and as
// it is used: Shi et al. 2023, "A distributed data-parallel PyTorch implementation of the
// distributed Shampoo optimizer". For each matrix of a parameter:
//   L = b2 L + (1 - b2) G G^T        R = b2 R + (1 - b2) G^T G      (b2 = 1: sums)
//   M = b1 M + (1 - b1) G
//   U = (L + eps I)^(-1/4) M (R + eps I)^(-1/4)                     (bias-corrected means)
//   u = U |graft|_F / |U|_F,  graft = the step of sgd or adam, or U itself
// The first `start_step` updates are the grafted ones: the sums of few gradients have null spaces,
// which the roots would blow up. The roots are renewed every `interval` updates, by eigenvalues on
// the host. A side above max_dim
// has no root, and the other one then the power -1/2.
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

enum class Graft : std::uint8_t { none, sgd, adam };

struct Settings {
  double beta1 = 0.9, beta2 = 0.95, eps = 1e-12;
  Graft graft = Graft::adam;
  std::int64_t interval = 10, start_step = 10;
};

constexpr Settings kPaper{
    .beta1 = 0, .beta2 = 1, .eps = 1e-4, .graft = Graft::none, .interval = 1, .start_step = 0};

class Shampoo final : public MatrixRule {
 public:
  OptionTable options() override {
    OptionTable table =
        OptionBuilder()
            .number("shampoo.beta1", s_.beta1, {.min = 0, .max = 1, .open_max = true},
                    "factor of the running mean of the gradient")
            .number("shampoo.beta2", s_.beta2, {.min = 0, .max = 1},
                    "factor of the running means of G G^T and G^T G; 1: sums")
            .number("shampoo.eps", s_.eps, {.min = 0, .max = 1, .open_min = true},
                    "added to their eigenvalues")
            .enumeration("shampoo.graft", s_.graft, {"none", "sgd", "adam"},
                         "whose step gives an update its length")
            .integer("shampoo.interval", s_.interval, {.min = 1, .max = 1e6},
                     "updates between two computations of the roots")
            .integer("shampoo.start_step", s_.start_step, {.min = 0, .max = 1e9},
                     "updates that are those of the grafted optimizer")
            .integer("shampoo.max_dim", max_dim_, {.min = 1, .max = 1e6},
                     "largest side of a matrix that has a preconditioner")
            .choice("shampoo.preset", preset_, {"practice", "paper"},
                    "values for the other options of shampoo, where these are not given")
            .table();
    Option& preset = table.back();
    preset.set = [this, set = preset.set](const std::string& name) {
      set(name);
      s_ = name == "paper" ? kPaper : Settings();
    };
    return table;
  }
  std::vector<StateSpec> state(const ParamInfo& info) const override {
    const MatrixView view(info);
    return {{"momentum"},
            {"v"},
            matrix_state("left", view, side(0)),
            matrix_state("right", view, side(1)),
            matrix_state("left_root", view, side(0)),
            matrix_state("right_root", view, side(1))};
  }
  bool takes(ParamKind kind) const override {
    return kind == ParamKind::matrix || kind == ParamKind::expert;
  }
  std::string seen_as(const ParamInfo& info) const override { return MatrixView(info).str(); }

  void direction(const StepInfo& step, std::span<Slot> slots) const override {
    enum : std::size_t { kMomentum, kV, kLeft, kRight, kLeftRoot, kRightRoot };
    const double c1 = bias_correction(s_.beta1, step.t),
                 c2 = s_.beta2 < 1 ? bias_correction(s_.beta2, step.t) : 1;
    // u: the grafted step, until U is known.
    for_elements(
        slots,
        [&](Lanes& p) {
          Lane &m = p.state[kMomentum], &v = p.state[kV];
          m = ema(m, p.g, s_.beta1);
          v = s_.beta2 < 1 ? ema(v, p.g * p.g, s_.beta2) : v + p.g * p.g;
          return s_.graft == Graft::adam ? (m / c1) / (sqrt(v / c2) + s_.eps) : m / c1;
        },
        kLeft);
    std::vector<Tensor> g, m, u, left, right, left_root, right_root;
    for (const Slot& s : slots) {
      const MatrixView view(*s.info);
      const auto append = [](std::vector<Tensor>& to, std::vector<Tensor> some) {
        for (Tensor& t : some) to.push_back(std::move(t));
      };
      append(g, view.split(s.g));
      append(m, view.split(s.state[kMomentum]));
      append(u, view.split(s.u));
      append(left, parts(s.state[kLeft], view, side(0)));
      append(right, parts(s.state[kRight], view, side(1)));
      append(left_root, parts(s.state[kLeftRoot], view, side(0)));
      append(right_root, parts(s.state[kRightRoot], view, side(1)));
    }
    const double fresh = s_.beta2 < 1 ? 1 - s_.beta2 : 1;
    std::vector<Tensor> both, roots, single, single_roots;
    for (std::size_t i = 0; i < g.size(); ++i) {
      const bool has_left = left[i].numel() > 0, has_right = right[i].numel() > 0;
      if (has_left)
        math::gemm(left[i], g[i], Op::plain, g[i], Op::transposed, fresh, s_.beta2, true);
      if (has_right)
        math::gemm(right[i], g[i], Op::transposed, g[i], Op::plain, fresh, s_.beta2, true);
      auto& stats = has_left && has_right ? both : single;
      auto& out = has_left && has_right ? roots : single_roots;
      if (has_left) stats.push_back(left[i]), out.push_back(left_root[i]);
      if (has_right) stats.push_back(right[i]), out.push_back(right_root[i]);
    }
    if (step.t <= s_.start_step) return;
    if ((step.t - 1 - s_.start_step) % s_.interval == 0) {
      const auto power = [&](double exponent) {
        return [exponent, c2, eps = s_.eps](double l) {
          return std::pow(std::max(l, 0.0) / c2 + eps, exponent);
        };
      };
      linalg::on_eigenvalues(roots, both, power(-0.25));
      linalg::on_eigenvalues(single_roots, single, power(-0.5));
    }
    std::vector<Tensor> preconditioned;
    for (std::size_t i = 0; i < m.size(); ++i) {
      Tensor x = m[i].clone(), next = Tensor::empty(x.shape(), x.dtype(), x.device());
      if (left[i].numel() > 0) {
        math::gemm(next, left_root[i], Op::plain, x, Op::plain);
        std::swap(x, next);
      }
      if (right[i].numel() > 0) {
        math::gemm(next, x, Op::plain, right_root[i], Op::plain);
        std::swap(x, next);
      }
      preconditioned.push_back(std::move(x));
    }
    std::vector<double> factors(u.size(), 1 / c1);
    if (s_.graft != Graft::none) {
      const std::vector<double> wanted = math::sum_squares(u),
                                have = math::sum_squares(preconditioned);
      for (std::size_t i = 0; i < u.size(); ++i)
        factors[i] = std::sqrt(wanted[i]) / std::max(std::sqrt(have[i]), kSmallest);
    }
    math::scale(u, preconditioned, factors);
  }

 private:
  PartShape side(int which) const {
    return [which, limit = max_dim_](const Shape& matrix) {
      const std::int64_t n = matrix[which];
      return n <= limit ? Shape{n, n} : Shape{0, 0};
    };
  }

  std::string preset_ = "practice";
  Settings s_;
  std::int64_t max_dim_ = 1024;
};

}  // namespace

std::unique_ptr<Rule> make_shampoo() { return std::make_unique<Shampoo>(); }

}  // namespace muonlab

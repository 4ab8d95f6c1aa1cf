// Muon by the coupled iteration for the inverse square root (Denman, Beavers 1976; Higham 2008,
// "Functions of matrices", section 6.3), to learn from. For each matrix of a parameter, with A the
// smaller of U U^T and U^T U, n its size:
//   M = mu M + (1 - mu) G,  U = (1 - mu) G + mu M
//   A = A + rel_eps tr(A) / n I,  s = tr(A),  Y = A / s,  Z = I
//   T = (3 I - Z Y) / 2,  Y = Y T,  Z = T Z, again and again
//   u = scale Z U / sqrt(s), or U Z
// which without rel_eps is the cubic Newton-Schulz iteration X = (3 X - X X^T X) / 2 of U / |U|_F:
// it is no faster, and squares the condition number. An eigenvalue p of Z Y becomes p (3 - p)^2 /
// 4, so small ones grow by 9/4 a step only. Rounding undoes the iteration if it goes on after it
// has converged, so it stops where |I - Z Y| is small or grows.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/math.h"
#include "optim/rule.h"
#include "optim/steps/matrix_view.h"
#include "optim/steps/moments.h"
#include "optim/steps/orthogonalize.h"
#include "optim/steps/rows.h"
#include "optim/steps/shape_scale.h"

namespace muonlab {
namespace {

using math::Op;

class CoupledMuon final : public MatrixRule {
 public:
  OptionTable options() override {
    return OptionBuilder()
        .number("coupled_muon.momentum", momentum_, {.min = 0, .max = 1, .open_max = true},
                "factor of the running mean of the gradient")
        .integer("coupled_muon.iterations", iterations_, {.min = 1, .max = 100},
                 "most steps of the coupled iteration")
        .number("coupled_muon.rel_eps", rel_eps_, {.min = 0, .max = 1},
                "added to the eigenvalues, as a share of their mean")
        .boolean("coupled_muon.exact", exact_,
                 "singular value decomposition on the host instead of the iteration")
        .boolean("coupled_muon.rms_scale", rms_scale_,
                 "update times 0.2 sqrt(max(r, c)), for root mean square 0.2, instead of 1")
        .table();
  }
  std::vector<StateSpec> state(const ParamInfo&) const override { return {{"momentum"}}; }
  bool takes(ParamKind kind) const override {
    return kind == ParamKind::matrix || kind == ParamKind::expert;
  }
  std::string seen_as(const ParamInfo& info) const override { return MatrixView(info).str(); }
  std::string unused(const std::string& option) const override {
    const bool of_steps = option == "coupled_muon.iterations" || option == "coupled_muon.rel_eps";
    return exact_ && of_steps ? "the exact factor takes no steps" : "";
  }
  std::string warning(const ParamInfo& info) const override {
    if (exact_) return "";
    std::int64_t side = 1;
    for (const Shape& m : MatrixView(info).shapes()) side = std::max(side, std::min(m[0], m[1]));
    // At best all singular values are equal: p = 1 / side at first.
    double p = 1 / static_cast<double>(side);
    for (std::int64_t i = 0; i < iterations_; ++i) p *= (3 - p) * (3 - p) / 4;
    if (std::sqrt(p) > 0.9) return "";
    return fmt::format(
        "--coupled_muon.iterations {} leaves singular values at {:.2f} of 1 at best for a smaller "
        "side of {}",
        iterations_, std::sqrt(p), side);
  }

  void direction(const StepInfo&, std::span<Slot> slots) const override {
    for_elements(slots, [&](Lanes& p) {
      p.state[0] = ema(p.state[0], p.g, momentum_);
      return nesterov(p.state[0], p.g, momentum_);
    });
    std::vector<Tensor> matrices;
    std::vector<double> scales;
    for (const Slot& s : slots)
      for (Tensor& matrix : MatrixView(*s.info).split(s.u)) {
        scales.push_back(
            shape_scale(rms_scale_ ? ShapeScale::rms : ShapeScale::none, matrix.shape(), 0.2));
        matrices.push_back(std::move(matrix));
      }
    if (exact_) {
      orthogonalize(matrices, {.coefficients = "svd"}, scales);
      return;
    }
    for (std::size_t i = 0; i < matrices.size(); ++i) iterate(matrices[i], scales[i]);
  }

 private:
  void iterate(Tensor& u, double scale) const {
    constexpr double kConverged = 1e-6;  // |I - Z Y|_F / sqrt(n)
    const bool tall = u.shape()[0] > u.shape()[1];
    const std::int64_t n = std::min(u.shape()[0], u.shape()[1]);
    const auto square = [&] { return Tensor::empty({n, n}, u.dtype(), u.device()); };
    const Tensor one = identities(1, n, u.dtype(), u.device()).reshape({n, n});
    const double trace = math::sum_squares(u), s = std::max((1 + rel_eps_) * trace, kSmallest);

    Tensor y = square(), z = one.clone(), t = square(), next = square();
    math::gemm(y, u, tall ? Op::transposed : Op::plain, u, tall ? Op::plain : Op::transposed, 1 / s,
               0, true);
    math::add(y, 1, y, rel_eps_ * trace / (static_cast<double>(n) * s), one);
    double last = 0;
    for (std::int64_t k = 0; k < iterations_; ++k) {
      math::gemm(t, z, Op::plain, y, Op::plain);
      math::add(next, 1, one, -1, t);
      const double error = math::norm(next) / std::sqrt(static_cast<double>(n));
      if (error < kConverged || (k > 0 && error > last)) break;
      last = error;
      math::add(t, 1.5, one, -0.5, t);
      math::gemm(next, y, Op::plain, t, Op::plain);
      std::swap(y, next);
      math::gemm(next, t, Op::plain, z, Op::plain);
      std::swap(z, next);
    }
    const Tensor given = u.clone();
    math::gemm(u, tall ? given : z, Op::plain, tall ? z : given, Op::plain, scale / std::sqrt(s));
  }

  double momentum_ = 0.95, rel_eps_ = 1e-7;
  std::int64_t iterations_ = 20;
  bool exact_ = false, rms_scale_ = true;
};

}  // namespace

std::unique_ptr<Rule> make_coupled_muon() { return std::make_unique<CoupledMuon>(); }

}  // namespace muonlab

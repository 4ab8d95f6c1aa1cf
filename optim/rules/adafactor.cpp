// Shazeer, Stern 2018, "Adafactor: adaptive learning rates with sublinear memory cost", algorithm
// 4, in the form of torch.optim.Adafactor. For each matrix, with means R over rows and C over
// columns:
//   b = t^(-decay)
//   R = R + b (mean_columns(G^2) - R)        C = C + b (mean_rows(G^2) - C)
//   V = R C / max(mean(R), eps1)             (a vector keeps V = V + b (G^2 - V) itself)
//   U = G / sqrt(max(V, eps1^2))
//   u = max(eps2, rms(W)) min(1, 1 / (lr sqrt(t))) U / max(1, rms(U) / d)
// Packed blocks are one matrix, as for the paper; each expert is a matrix of its own.
#include <algorithm>
#include <cmath>

#include "core/math.h"
#include "optim/rule.h"
#include "optim/steps/matrix_state.h"
#include "optim/steps/matrix_view.h"
#include "optim/steps/rows.h"

namespace muonlab {
namespace {

bool is_vector(const ParamInfo& info) { return info.shape.rank() < 2; }
Shape one_per_row(const Shape& matrix) { return {matrix[0], 1}; }
Shape one_per_column(const Shape& matrix) { return {1, matrix[1]}; }

class Adafactor final : public MatrixRule {
 public:
  OptionTable options() override {
    return OptionBuilder()
        .number("adafactor.decay", decay_, {.min = 0, .max = 1, .open_min = true},
                "power of t with which the weight of the newest square falls")
        .number("adafactor.eps1", eps1_, {.min = 0, .max = 1, .open_min = true},
                "smallest root mean square that a gradient is divided by")
        .number("adafactor.eps2", eps2_, {.min = 0, .max = 1e3},
                "smallest root mean square of a weight that the update is a share of")
        .number("adafactor.clip", clip_, {.min = 0, .max = 1e3, .open_min = true},
                "largest root mean square of the update")
        .table();
  }
  std::vector<StateSpec> state(const ParamInfo& info) const override {
    if (is_vector(info)) return {{"rows"}, {"columns", Shape{0}}};
    const MatrixView view(info, Split::none);
    return {matrix_state("rows", view, one_per_row), matrix_state("columns", view, one_per_column)};
  }
  std::string seen_as(const ParamInfo& info) const override {
    return is_vector(info) ? info.shape.str() : MatrixView(info, Split::none).str();
  }

  bool follows_signs() const override { return true; }

  void direction(const StepInfo& step, std::span<Slot> slots) const override {
    const auto t = static_cast<double>(step.t);
    const double b = std::pow(t, -decay_);
    const double relative = step.lr * std::sqrt(t) > 1 ? 1 / (step.lr * std::sqrt(t)) : 1;
    std::vector<Tensor> w, u;
    for (Slot& s : slots) {
      if (is_vector(*s.info)) {
        on_elements({s.u, s.g, s.state[0]}, [&](std::span<Lane> l) {
          l[2] = lerp(l[2], l[1] * l[1], b);
          l[0] = scaled(l[1], l[2]);
        });
        w.push_back(s.w);
        u.push_back(s.u);
        continue;
      }
      const MatrixView view(*s.info, Split::none);
      const std::vector<Tensor> g = view.split(s.g), weights = view.split(s.w),
                                directions = view.split(s.u),
                                rows = parts(s.state[0], view, one_per_row),
                                columns = parts(s.state[1], view, one_per_column);
      for (std::size_t i = 0; i < g.size(); ++i) {
        factored(directions[i], g[i], rows[i], columns[i], b);
        w.push_back(weights[i]);
        u.push_back(directions[i]);
      }
    }
    const std::vector<double> weight = math::sum_squares(w), length = math::sum_squares(u);
    for (std::size_t i = 0; i < u.size(); ++i) {
      const auto n = static_cast<double>(u[i].numel());
      const double rms = std::sqrt(length[i] / n);
      math::axpby(u[i],
                  relative * std::max(eps2_, std::sqrt(weight[i] / n)) / std::max(1.0, rms / clip_),
                  u[i], 0);
    }
  }

 private:
  Lane scaled(const Lane& g, const Lane& v) const { return g / sqrt(max(v, eps1_ * eps1_)); }

  void factored(const Tensor& u, const Tensor& g, const Tensor& rows, const Tensor& columns,
                double b) const {
    const auto square = [](const Lane& x) { return x * x; };
    const auto height = static_cast<double>(g.shape()[0]),
               width = static_cast<double>(g.shape()[1]);
    on_elements({rows, row_sums(g, square)},
                [&](std::span<Lane> l) { l[0] = lerp(l[0], l[1] / width, b); });
    on_elements({columns, column_sums(g, square)},
                [&](std::span<Lane> l) { l[0] = lerp(l[0], l[1] / height, b); });
    const double mean = math::sum(rows) / height;
    Tensor relative = Tensor::empty(rows.shape(), rows.dtype(), rows.device());
    math::axpby(relative, 1 / std::max(mean, eps1_), rows, 0);  // R C itself might overflow
    on_elements({u, g, outer(relative, columns)},
                [&](std::span<Lane> l) { l[0] = scaled(l[1], l[2]); });
  }

  double decay_ = 0.8, eps1_ = 0x1p-23, eps2_ = 1e-3, clip_ = 1;
};

}  // namespace

std::unique_ptr<Rule> make_adafactor() { return std::make_unique<Adafactor>(); }

}  // namespace muonlab

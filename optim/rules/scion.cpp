// Pethick et al. 2025, "Training deep learning models with norm-constrained LMOs", algorithm 1
// (unconstrained) and 2 (Scion). Each kind of parameter has a norm and a radius rho. With
//   m = (1 - alpha) m + alpha g
//   lmo(m) = the point of the unit ball of that norm that agrees most with m
// the update is u = rho lmo(m), or rho lmo(m) + w (constrained), which keeps w in the ball. The
// points of the unit balls, for a matrix (rows, cols):
//   spectral   sqrt(rows / cols) orthogonalise(m)
//   sign       sign(m) / cols
//   colnorm    each column divided by its root mean square (the rows of an embedding, whose columns
//              are looked up, as rows)
//   rownorm    each row divided by its norm times sqrt(cols)
//   BiasRMS    a vector divided by its root mean square
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

enum class Ball : std::uint8_t { spectral, sign, colnorm, rownorm, bias_rms };
const std::vector<std::string> kBalls{"spectral", "sign", "colnorm", "rownorm"};

constexpr double kEps = 1e-8;  // added to the norms that rows, columns and vectors are divided by

class Scion final : public MatrixRule {
 public:
  OptionTable options() override {
    constexpr Range radius{.min = 0, .max = 1e9, .open_min = true};
    OptionTable table =
        OptionBuilder()
            .number("scion.alpha", alpha_, {.min = 0, .max = 1, .open_min = true},
                    "weight of the newest gradient in the running mean")
            .boolean("scion.constrained", constrained_,
                     "keep weights in their norm balls, whose radii then bound them")
            .enumeration("scion.hidden", hidden_, kBalls, "norm of the matrices between layers")
            .enumeration("scion.io", io_, kBalls, "norm of embeddings and of the head")
            .number("scion.radius", radius_, radius, "of the balls of matrices between layers")
            .number("scion.radius_io", radius_io_, radius, "of those of embeddings and the head")
            .number("scion.radius_vector", radius_vector_, radius, "of those of biases and gains")
            .table();
    for (Option& option : muonlab::options(orth_, "scion")) table.push_back(std::move(option));
    return table;
  }
  std::vector<StateSpec> state(const ParamInfo&) const override { return {{"momentum"}}; }
  std::string seen_as(const ParamInfo& info) const override {
    return ball(info) == Ball::bias_rms ? info.shape.str() : MatrixView(info).str();
  }
  std::string unused(const std::string& option) const override {
    return muonlab::unused(orth_, option);
  }

  bool decays() const override { return true; }

  /// Onto the sphere of the norm: the layer's random values choose the point.
  void initialise(const ParamInfo& info, Tensor& w) const override {
    if (ball(info) == Ball::bias_rms) return;
    std::vector<Slot> slots(1);
    slots[0].info = &info;
    slots[0].u = w;
    to_sphere(slots, {.coefficients = "svd"});
    math::axpby(w, radius(info), w, 0);
  }

  void direction(const StepInfo&, std::span<Slot> slots) const override {
    for_elements(slots, [&](Lanes& p) {
      p.state[0] = ema(p.state[0], p.g, 1 - alpha_);
      return p.state[0];
    });
    to_sphere(slots, orth_);
    for (Slot& s : slots) math::axpby(s.u, s.decay + (constrained_ ? 1 : 0), s.w, radius(*s.info));
  }

 private:
  Ball ball(const ParamInfo& info) const {
    if (info.shape.rank() < 2) return Ball::bias_rms;
    return is_io(info) ? io_ : hidden_;
  }
  double radius(const ParamInfo& info) const {
    if (info.shape.rank() < 2) return radius_vector_;
    return is_io(info) ? radius_io_ : radius_;
  }
  static bool is_io(const ParamInfo& info) {
    return info.kind == ParamKind::embedding || info.kind == ParamKind::head;
  }

  /// Replaces every u by the point of its unit ball that agrees most with it.
  void to_sphere(std::span<Slot> slots, const Orthogonalization& how) const {
    std::vector<Tensor> spectral;
    std::vector<double> scales;
    for (Slot& s : slots) {
      if (ball(*s.info) == Ball::bias_rms) {
        math::axpby(s.u, 1 / (math::rms(s.u) + kEps), s.u, 0);
        continue;
      }
      for (Tensor& m : MatrixView(*s.info).split(s.u)) {
        const auto rows = static_cast<double>(m.shape()[0]),
                   cols = static_cast<double>(m.shape()[1]);
        const auto square = [](const Lane& x) { return x * x; };
        switch (ball(*s.info)) {
          case Ball::sign:
            on_elements({m}, [&](std::span<Lane> l) { l[0] = sign(l[0]) / cols; });
            break;
          case Ball::colnorm: {
            const bool as_rows = s.info->kind == ParamKind::embedding;
            const Tensor squares = as_rows ? row_sums(m, square) : column_sums(m, square);
            const double count = as_rows ? cols : rows;
            on_elements({squares},
                        [&](std::span<Lane> l) { l[0] = 1 / (sqrt(l[0] / count) + kEps); });
            as_rows ? scale_rows(m, squares) : scale_columns(m, squares);
            break;
          }
          case Ball::rownorm: {
            const Tensor squares = row_sums(m, square);
            on_elements({squares}, [&](std::span<Lane> l) {
              l[0] = 1 / ((sqrt(l[0]) + kEps) * std::sqrt(cols));
            });
            scale_rows(m, squares);
            break;
          }
          case Ball::spectral:
          case Ball::bias_rms:
            scales.push_back(shape_scale(ShapeScale::spectral_full, m.shape(), 0));
            spectral.push_back(std::move(m));
        }
      }
    }
    if (!spectral.empty()) orthogonalize(spectral, how, scales);
  }

  double alpha_ = 0.1, radius_ = 50, radius_io_ = 3000, radius_vector_ = 1;
  bool constrained_ = true;
  Ball hidden_ = Ball::spectral, io_ = Ball::sign;
  Orthogonalization orth_;
};

}  // namespace

std::unique_ptr<Rule> make_scion() { return std::make_unique<Scion>(); }

}  // namespace muonlab

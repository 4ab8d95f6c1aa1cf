#include "tests/optim/muon_reference.h"
#include "tests/support/catch.h"

using namespace muonlab;
using namespace muonlab::testing;

namespace {

using Settings = std::map<std::string, std::string>;

const Settings kGolden{
    {"optimizer", "scion"}, {"lr", "0.02"}, {"scion.radius", "3"}, {"scion.eps_form", "add"}};

Settings with(Settings settings, const Settings& more) {
  for (const auto& [name, value] : more) settings[name] = value;
  return settings;
}

/// The point of the unit ball for one gradient: the update from zero, unconstrained, at rate 1.
Matrix lmo(const Matrix& g, ParamKind kind, Settings settings) {
  settings = with({{"optimizer", "scion"},
                   {"lr", "1"},
                   {"scion.alpha", "1"},
                   {"scion.constrained", "false"},
                   {"scion.radius", "1"},
                   {"scion.radius_io", "1"}},
                  settings);
  const bool vector = kind == ParamKind::bias;
  std::vector<Parameter> params{
      parameter({"w", kind, vector ? Shape{g.cols()} : Shape{g.rows(), g.cols()}, {}, ""},
                Values(static_cast<std::size_t>(g.size()), 0))};
  Optimizer optimizer(params, configured(settings));
  set_grad(params[0], values_of(g));
  optimizer.step();
  return -matrix_of(weights(params), g.rows(), g.cols());
}

double distance(const Matrix& a, const Matrix& b) { return (a - b).cwiseAbs().maxCoeff(); }

}  // namespace

// Golden vectors: the authors' code (LIONS-EPFL/scion), in f64.
TEST_CASE("scion takes the golden steps") {
  const DType dtype = GENERATE(DType::f64, DType::f32);
  CHECK(largest_difference(golden_run(kGolden, dtype),
                           {.50471245, -.31381275, .76303745, -.10392205, .36536476, -.62126574}) <
        golden_tolerance(dtype));
  CHECK(largest_difference(golden_run(with(kGolden, {{"scion.constrained", "false"}}), dtype),
                           {.53487861, -.33200796, .81208722, -.10895882, .38748203, -.65724566}) <
        golden_tolerance(dtype));
}

TEST_CASE("scion's points of the unit balls") {
  const std::pair<int, int> shape = GENERATE(std::pair{6, 10}, std::pair{10, 6});
  const Matrix g = gaussian_matrix(shape.first, shape.second, 1);
  const auto r = static_cast<double>(g.rows()), c = static_cast<double>(g.cols());
  CHECK(distance(lmo(g, ParamKind::matrix, {}), std::sqrt(r / c) * reference_orth(g, g.norm())) <
        1e-12);
  const Matrix signs = g.unaryExpr([](double x) { return x > 0 ? 1.0 : -1.0; }) / c;
  CHECK(distance(lmo(g, ParamKind::head, {}), signs) < 1e-15);
  CHECK(distance(lmo(g, ParamKind::matrix, {{"scion.hidden", "sign"}}), signs) < 1e-15);
  // 1e-8 is added to norms of about 1.
  Matrix columns = g;
  for (int j = 0; j < g.cols(); ++j) columns.col(j) *= std::sqrt(r) / g.col(j).norm();
  CHECK(distance(lmo(g, ParamKind::head, {{"scion.io", "colnorm"}}), columns) < 1e-7);
  Matrix tokens = g, rows = g;
  for (int i = 0; i < g.rows(); ++i) {
    tokens.row(i) *= std::sqrt(c) / g.row(i).norm();
    rows.row(i) /= g.row(i).norm() * std::sqrt(c);
  }
  CHECK(distance(lmo(g, ParamKind::embedding, {{"scion.io", "colnorm"}}), tokens) < 1e-7);
  CHECK(distance(lmo(g, ParamKind::matrix, {{"scion.hidden", "rownorm"}}), rows) < 1e-7);
  const Matrix v = gaussian_matrix(1, 9, 2);
  CHECK(distance(lmo(v, ParamKind::bias, {}), v * 3 / v.norm()) < 1e-7);
}

TEST_CASE("scion is muon with the full spectral scale and decay 1 / radius") {
  const Matrix w0 = gaussian_matrix(6, 10, 1);
  const auto run = [&](const Settings& settings) {
    std::vector<Parameter> params{
        parameter({"w", ParamKind::matrix, {6, 10}, {}, ""}, values_of(w0))};
    Optimizer optimizer(params, configured(settings));
    for (std::uint64_t t = 0; t < 4; ++t) {
      set_grad(params[0], values_of(gaussian_matrix(6, 10, 20 + t)));
      optimizer.step();
    }
    return weights(params);
  };
  const Values scion = run({{"optimizer", "scion"}, {"lr", "0.01"}, {"scion.radius", "5"}});
  CHECK(largest_difference(run({{"optimizer", "muon"},
                                {"lr", "0.05"},
                                {"weight_decay", "0.2"},
                                {"muon.momentum", "0.9"},
                                {"muon.nesterov", "false"},
                                {"muon.scale", "spectral_full"}}),
                           scion) < 1e-14);
}

TEST_CASE("scion starts on the norm ball, and does not leave it") {
  const Settings settings{{"optimizer", "scion"},
                          {"lr", "0.3"},
                          {"scion.radius", "5"},
                          {"scion.radius_io", "7"},
                          {"scion.coefficients", "svd"}};
  std::vector<Parameter> params = zoo();
  initialise(params, configured(settings));
  const auto check = [&](bool first) {
    for (const Parameter& p : params) {
      const Values w = p.value().to_vector();
      const Shape& shape = p.info.shape;
      INFO(p.info.name);
      if (p.info.name == "tall" || p.info.name == "router") {
        const Matrix m = matrix_of(w, shape[0], shape[1]);
        const double radius =
            5 * std::sqrt(static_cast<double>(shape[0]) / static_cast<double>(shape[1]));
        const Eigen::VectorXd s = singular_values(m);
        CHECK(s.maxCoeff() < radius * (1 + 1e-12));
        if (first) CHECK(s.minCoeff() > radius * (1 - 1e-12));
      }
      if (p.info.name == "head")
        for (const double x : w) {
          CHECK(std::abs(x) <= 7.0 / 4 + 1e-12);
          if (first) CHECK(std::abs(x) == Approx(7.0 / 4));
        }
    }
  };
  check(true);
  Optimizer optimizer(params, configured(settings));
  for (int t = 1; t <= 10; ++t) {
    set_zoo_grads(params, t);
    optimizer.step();
    check(false);
  }
}

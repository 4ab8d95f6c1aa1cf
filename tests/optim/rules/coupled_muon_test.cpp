#include "optim/routing.h"
#include "tests/optim/muon_reference.h"
#include "tests/support/catch.h"

using namespace muonlab;
using namespace muonlab::testing;

namespace {

using Settings = std::map<std::string, std::string>;

/// The first update, unscaled.
Matrix update(const Matrix& g, Settings settings, DType dtype = DType::f64) {
  settings.insert({{"optimizer", "coupled_muon"},
                   {"lr", "1"},
                   {"coupled_muon.rms_scale", "false"},
                   {"coupled_muon.rel_eps", "0"}});
  std::vector<Parameter> params{parameter({"w", ParamKind::matrix, {g.rows(), g.cols()}, {}, ""},
                                          Values(static_cast<std::size_t>(g.size()), 0), dtype)};
  Optimizer optimizer(params, configured(settings));
  set_grad(params[0], values_of(g));
  optimizer.step();
  return -matrix_of(weights(params), g.rows(), g.cols());
}

double distance(const Matrix& a, const Matrix& b) { return (a - b).cwiseAbs().maxCoeff(); }

Matrix rotation(std::int64_t n, std::uint64_t seed) {
  return on_singular_values(gaussian_matrix(n, n, seed), [](double s) { return 1 / s; });
}

}  // namespace

TEST_CASE("coupled_muon is the cubic Newton-Schulz iteration") {
  const std::pair<int, int> shape = GENERATE(std::pair{12, 20}, std::pair{20, 12});
  const Matrix g = gaussian_matrix(shape.first, shape.second, 1);
  for (const int k : {1, 3, 6})
    CHECK(distance(update(g, {{"coupled_muon.iterations", std::to_string(k)}}),
                   reference_orth(g, g.norm(), coefficients("cubic", k))) < 1e-13);
  const Matrix polar = on_singular_values(g, [](double s) { return 1 / s; });
  CHECK(distance(update(g, {{"coupled_muon.exact", "true"}}), polar) < 1e-12);
  CHECK(distance(update(g, {{"coupled_muon.iterations", "40"}}), polar) < 1e-6);
}

TEST_CASE("five coupled iterations leave an orthogonal matrix of 128 rows at .5997") {
  const Matrix q = rotation(128, 2);
  CHECK(distance(update(q, {{"coupled_muon.iterations", "5"}}), 0.5997 * q) < 1e-4);
}

TEST_CASE("coupled_muon warns where its iterations cannot suffice") {
  const auto reason = [](const Settings& settings, Shape shape) {
    const std::vector<Parameter> params{make_parameter({"w", ParamKind::matrix, shape, {}, ""})};
    return route(params, configured(settings))[0].reason;
  };
  const Settings few{{"optimizer", "coupled_muon"}, {"coupled_muon.iterations", "5"}};
  CHECK(reason(few, {128, 128}).find("leaves singular values at 0.60 of 1") != std::string::npos);
  CHECK(reason(few, {4, 128}).find("warning") == std::string::npos);
  CHECK(reason({{"optimizer", "coupled_muon"}}, {128, 128}).find("warning") == std::string::npos);
  const Settings exact{{"optimizer", "coupled_muon"},
                       {"coupled_muon.iterations", "5"},
                       {"coupled_muon.exact", "true"}};
  CHECK(reason(exact, {128, 128}).find("warning") == std::string::npos);
}

TEST_CASE("coupled_muon stops before rounding undoes it") {
  // Condition 1e3 in f32: sixty iterations to the end would give numbers that are not finite.
  Eigen::VectorXd s(24);
  for (int i = 0; i < 24; ++i) s(i) = std::pow(1e-3, i / 23.0);
  const Matrix g = rotation(24, 3) * s.asDiagonal() * rotation(24, 4);
  const Matrix o = update(g, {{"coupled_muon.iterations", "60"}}, DType::f32);
  CHECK(std::isfinite(o.norm()));
  // The Gram matrix has condition 1e6, and f32 ten times as many steps between 0 and 1.
  CHECK((o - on_singular_values(g, [](double x) { return 1 / x; })).norm() / o.norm() < 0.1);
}

TEST_CASE("coupled_muon does not see the scale of its gradient, with rel_eps neither") {
  const Matrix g = gaussian_matrix(10, 16, 5);
  for (const char* eps : {"0", "1e-3"}) {
    const Settings settings{{"coupled_muon.rel_eps", eps}};
    CHECK(distance(update(1e-6 * g, settings), update(g, settings)) < 1e-12);
  }
  CHECK(distance(update(g, {{"coupled_muon.rel_eps", "1e-3"}}), update(g, {})) > 1e-4);
}

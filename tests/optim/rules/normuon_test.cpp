#include "tests/optim/muon_reference.h"
#include "tests/support/catch.h"

using namespace muonlab;
using namespace muonlab::testing;

namespace {

Matrix step(const Matrix& g, const std::map<std::string, std::string>& more = {}) {
  std::map<std::string, std::string> settings{{"optimizer", "normuon"}, {"lr", "1"}};
  for (const auto& [name, value] : more) settings[name] = value;
  std::vector<Parameter> params{parameter({"w", ParamKind::matrix, {g.rows(), g.cols()}, {}, ""},
                                          Values(static_cast<std::size_t>(g.size()), 0))};
  Optimizer optimizer(params, configured(settings));
  set_grad(params[0], values_of(g));
  optimizer.step();
  return -matrix_of(weights(params), g.rows(), g.cols());
}

}  // namespace

// Golden vector: the authors' code (zichongli5/NorMuon), in f64.
TEST_CASE("normuon takes the golden steps") {
  const DType dtype = GENERATE(DType::f64, DType::f32);
  const Values w = golden_run({{"optimizer", "normuon"},
                               {"lr", "0.02"},
                               {"weight_decay", "0.1"},
                               {"normuon.eps_form", "add"}},
                              dtype);
  CHECK(largest_difference(w, {.49914033, -.30396377, .79029703, -.09527047, .39161059,
                               -.59701288}) < golden_tolerance(dtype));
}

TEST_CASE("the first update of normuon has rows of one length, and keeps the whole one's") {
  const std::pair<int, int> shape = GENERATE(std::pair{12, 30}, std::pair{30, 12});
  const Matrix g = gaussian_matrix(shape.first, shape.second, 3), u = step(g);
  const Eigen::VectorXd lengths = u.rowwise().norm();
  CHECK(lengths.maxCoeff() / lengths.minCoeff() - 1 < 1e-8);
  const Matrix o = reference_orth(g, g.norm());
  const double scale =
      std::sqrt(std::max(1.0, static_cast<double>(g.rows()) / static_cast<double>(g.cols())));
  CHECK(u.norm() / (scale * o.norm()) == Approx(1).epsilon(1e-8));
  CHECK((o.rowwise().norm().maxCoeff() / o.rowwise().norm().minCoeff()) > 1.01);
}

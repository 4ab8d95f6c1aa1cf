#include "tests/optim/muon_reference.h"
#include "tests/support/catch.h"

using namespace muonlab;
using namespace muonlab::testing;

namespace {

using Settings = std::map<std::string, std::string>;

Tensor state_of(const Optimizer& optimizer, const std::string& name) {
  for (const NamedTensor& t : optimizer.state())
    if (t.name == name) return t.tensor;
  throw Error("no state " + name);
}

}  // namespace

// Golden vector: the authors' code (microsoft/dion, dion_simple.py), whose QR is in f32: hence
// eight digits, of which the last may be off.
TEST_CASE("dion takes the golden steps") {
  const DType dtype = GENERATE(DType::f64, DType::f32);
  std::vector<Parameter> params{
      parameter({"w", ParamKind::matrix, {2, 3}, {}, ""}, golden_start(), dtype)};
  Optimizer optimizer(
      params, configured({{"optimizer", "dion"}, {"lr", "0.02"}, {"weight_decay", "0.01"}}));
  Tensor q = state_of(optimizer, "opt/w/q");
  REQUIRE(q.numel() == 6);
  q.copy_from(tensor_of(Shape{6}, {1, 0, 0, 1, 1, 1}, dtype));
  for (int t = 1; t <= 3; ++t) {
    set_grad(params[0], golden_gradient(t));
    optimizer.step();
  }
  CHECK(largest_difference(weights(params),
                           {.51978383, -.31904409, .81235651, -.10303864, .39360460, -.61781555}) <
        (dtype == DType::f64 ? 2e-8 : 2e-6));
}

TEST_CASE("dion of full rank tends to the polar factor of a gradient that stays") {
  const Matrix g = gaussian_matrix(6, 9, 1);
  std::vector<Parameter> params{parameter({"w", ParamKind::matrix, {6, 9}, {}, ""}, Values(54, 0))};
  Optimizer optimizer(params, configured({{"optimizer", "dion"}, {"lr", "1"}}));
  Values before;
  for (int t = 0; t < 60; ++t) {
    before = weights(params);
    set_grad(params[0], values_of(g));
    optimizer.step();
  }
  Matrix u = matrix_of(before, 6, 9) - matrix_of(weights(params), 6, 9);
  const Matrix polar = on_singular_values(g, [](double s) { return 1 / s; });
  CHECK(u.cwiseProduct(polar).sum() / (u.norm() * polar.norm()) > 0.99);
  CHECK(u.norm() == Approx(std::sqrt(6.0 / 9) * std::sqrt(6.0)).epsilon(1e-6));
}

TEST_CASE("a dion of small rank keeps what it did not use") {
  const Matrix g = gaussian_matrix(8, 12, 2);
  for (const char* momentum : {"1", "0"}) {
    std::vector<Parameter> params{
        parameter({"w", ParamKind::matrix, {8, 12}, {}, ""}, Values(96, 0))};
    Optimizer optimizer(params, configured({{"optimizer", "dion"},
                                            {"lr", "1"},
                                            {"dion.momentum", momentum},
                                            {"dion.rank_fraction", "0.25"}}));
    REQUIRE(state_of(optimizer, "opt/w/q").numel() == 12 * 2);
    set_grad(params[0], values_of(g));
    optimizer.step();
    const Matrix u = -matrix_of(weights(params), 8, 12);
    const Eigen::VectorXd s = singular_values(u);
    CHECK(s(s.size() - 3) < 1e-6);  // rank 2
    const Matrix m = matrix_of(state_of(optimizer, "opt/w/momentum").to_vector(), 8, 12);
    if (momentum[0] == '1') {
      CHECK(m == g);
    } else {  // the left factor of u spans what was taken out
      CHECK((u.transpose() * m).norm() < 1e-10);
      CHECK(m.norm() > 0.5 * g.norm());
    }
  }
}

#include "tests/optim/muon_reference.h"
#include "tests/support/catch.h"

using namespace muonlab;
using namespace muonlab::testing;

// Golden vector: the authors' formulas (Chongjie-Si/AdaMuon), in f64.
TEST_CASE("adamuon takes the golden steps") {
  const DType dtype = GENERATE(DType::f64, DType::f32);
  const Values w =
      golden_run({{"optimizer", "adamuon"}, {"lr", "0.02"}, {"weight_decay", "0.01"}}, dtype);
  CHECK(largest_difference(w, {.49562921, -.29574918, .80366500, -.10401246, .40383250,
                               -.60378497}) < golden_tolerance(dtype));
}

TEST_CASE("adamuon sees the signs of the gradient alone, and its update has the length kappa") {
  const auto update = [](double power) {
    std::vector<Parameter> params{
        parameter({"w", ParamKind::matrix, {6, 10}, {}, ""}, Values(60, 0))};
    Optimizer optimizer(params, configured({{"optimizer", "adamuon"}, {"lr", "1"}}));
    Values g = gaussian(60, 4);
    for (double& x : g) x = std::copysign(std::pow(std::abs(x), power), x);
    set_grad(params[0], g);
    optimizer.step();
    return weights(params);
  };
  const Values u = update(1);
  CHECK(largest_difference(u, update(3)) < 1e-14);
  double squares = 0;
  for (const double x : u) squares += x * x;
  CHECK(std::sqrt(squares / 60) == Approx(0.2).epsilon(1e-6));
}

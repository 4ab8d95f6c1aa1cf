#include "tests/optim/optim_cases.h"
#include "tests/support/catch.h"

using namespace muonlab;
using namespace muonlab::testing;

// Golden vector: Liuhong99/Sophia, sophia.py, f64, with a batch of 2000 tokens whose gradient
// against drawn labels is G_0.
TEST_CASE("sophia_g takes the golden steps") {
  const DType dtype = GENERATE(DType::f64, DType::f32);
  std::vector<Parameter> params{
      parameter({"w", ParamKind::matrix, {2, 3}, {}, ""}, golden_start(), dtype)};
  Optimizer optimizer(
      params, configured({{"optimizer", "sophia_g"}, {"lr", "0.01"}, {"weight_decay", "0.1"}}));
  for (int t = 1; t <= 3; ++t) {
    if (optimizer.wants_sampled()) {
      CHECK(t == 1);
      set_grad(params[0], golden_gradient(0));
      optimizer.take_sampled(2000);
    }
    set_grad(params[0], golden_gradient(t));
    optimizer.step();
  }
  CHECK(largest_difference(weights(params), {.50355598, -.30361268, .81436452, -.10876700,
                                             .38883119, -.60444812}) < golden_tolerance(dtype));
}

TEST_CASE("sophia_g takes signs where there is no curvature, and stands still where it is huge") {
  std::vector<Parameter> params{parameter({"w", ParamKind::bias, {3}, {}, ""}, {0, 0, 0})};
  Optimizer optimizer(params, configured({{"optimizer", "sophia_g"}, {"lr", "1"}}));
  set_grad(params[0], {0, 0, 1e6});
  optimizer.take_sampled(100);
  set_grad(params[0], {1e-6, -3, 1});
  optimizer.step();
  CHECK(weights(params)[0] == -1);
  CHECK(weights(params)[1] == 1);
  // 0.035 / (0.04 0.01 100 10^12) = 9e-13
  CHECK(std::abs(weights(params)[2]) < 1e-12);
}

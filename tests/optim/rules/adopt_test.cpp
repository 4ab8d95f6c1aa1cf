#include "tests/optim/optim_cases.h"
#include "tests/support/catch.h"

using namespace muonlab;
using namespace muonlab::testing;

TEST_CASE("the first gradient of adopt moves nothing, the second is measured by it") {
  std::vector<Parameter> params{parameter({"w", ParamKind::bias, {3}, {}, ""}, {0, 0, 0})};
  Optimizer optimizer(params, configured({{"optimizer", "adopt"}, {"lr", "1"}}));
  set_grad(params[0], {4, 4, 1e-9});
  optimizer.step();
  CHECK(weights(params) == Values{0, 0, 0});
  set_grad(params[0], {-2, 40, 3e-7});  // -1/2; 10, which is clipped to 1; eps is 1e-6: 0.3
  optimizer.step();
  CHECK(largest_difference(weights(params), {0.05, -0.1, -0.03}) < 1e-15);
}

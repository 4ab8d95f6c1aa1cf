#include "tests/optim/optim_cases.h"
#include "tests/support/catch.h"

using namespace muonlab;
using namespace muonlab::testing;

// Golden vectors: torch.optim.RMSprop, f64.
TEST_CASE("rmsprop takes the golden steps") {
  const DType dtype = GENERATE(DType::f64, DType::f32);
  CHECK(largest_difference(golden_run({{"optimizer", "rmsprop"}, {"lr", "0.01"}}, dtype),
                           {.44264025, -.24930190, .80932631, -.07663065, .39023994, -.71753646}) <
        golden_tolerance(dtype));
}

TEST_CASE("rmsprop, centered and with momentum, takes the golden steps") {
  const DType dtype = GENERATE(DType::f64, DType::f32);
  CHECK(largest_difference(golden_run({{"optimizer", "rmsprop"},
                                       {"lr", "0.01"},
                                       {"rmsprop.centered", "true"},
                                       {"rmsprop.momentum", "0.9"}},
                                      dtype),
                           {.35999689, -.16401823, .94657501, .02607318, .26939166, -.97508520}) <
        golden_tolerance(dtype));
}

TEST_CASE("rmsprop, centered, stays finite where the gradient never changes") {
  // Then mean square and squared mean meet, and rounding may put the one below the other.
  std::vector<Parameter> params{
      parameter({"w", ParamKind::bias, {64}, {}, ""}, gaussian(64, 1), DType::f32)};
  Optimizer optimizer(params, configured({{"optimizer", "rmsprop"},
                                          {"lr", "1e-9"},
                                          {"rmsprop.alpha", "0.1"},
                                          {"rmsprop.centered", "true"}}));
  for (int t = 0; t < 100; ++t) {
    set_grad(params[0], gaussian(64, 2));
    optimizer.step();
  }
  for (const double w : weights(params)) CHECK(std::isfinite(w));
}

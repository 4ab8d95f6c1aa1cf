#include "tests/optim/optim_cases.h"
#include "tests/support/catch.h"

using namespace muonlab;
using namespace muonlab::testing;

// Golden vector: google/automl, lion_pytorch.py, f64.
TEST_CASE("lion takes the golden steps") {
  const DType dtype = GENERATE(DType::f64, DType::f32);
  CHECK(largest_difference(
            golden_run({{"optimizer", "lion"}, {"lr", "0.01"}, {"weight_decay", "0.1"}}, dtype),
            {.48851149, -.28911089, .78759241, -.10971029, .40881119, -.60817181}) <
        golden_tolerance(dtype));
}

TEST_CASE("rules of signs move every weight by the rate or not at all, whatever the loss's scale") {
  const std::string rule = GENERATE("lion", "signum");
  INFO(rule);
  std::vector<Parameter> params = zoo(), scaled = zoo();
  Optimizer optimizer(params, configured({{"optimizer", rule}, {"lr", "0.25"}})),
      of_scaled(scaled, configured({{"optimizer", rule}, {"lr", "0.25"}}));
  for (int t = 1; t <= 3; ++t) {
    const Values before = weights(params);
    set_zoo_grads(params, t);
    set_zoo_grads(scaled, t);
    for (std::vector<Parameter>* all : {&params, &scaled})
      for (Parameter& p : *all) {
        Values g = p.grad().to_vector();
        g[0] = 0;
        if (all == &scaled)
          for (double& x : g) x *= 1024;  // a power of two: exact
        set_grad(p, g);
      }
    optimizer.step();
    of_scaled.step();
    CHECK(same_bits(weights(params), weights(scaled)));
    const Values after = weights(params);
    std::size_t still = 0;
    for (std::size_t i = 0; i < after.size(); ++i) {
      const double moved = std::abs(after[i] - before[i]);
      if (moved == 0) ++still;
      // Weights of about 4 are rounded by 4e-16 before and after.
      else if (std::abs(moved - 0.25) > 2e-15)
        FAIL("a weight moved by " << moved);
    }
    CHECK(still == params.size());  // where the gradient was always 0
  }
}

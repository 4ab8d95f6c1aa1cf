#include "tests/optim/optim_cases.h"
#include "tests/support/catch.h"

using namespace muonlab;
using namespace muonlab::testing;

namespace {

const std::map<std::string, std::string> kGolden{
    {"optimizer", "adamw"}, {"lr", "0.01"}, {"adamw.beta2", "0.95"}};

}  // namespace

// Golden vector: torch.optim.AdamW, f64.
TEST_CASE("adamw takes the golden steps") {
  const DType dtype = GENERATE(DType::f64, DType::f32);
  auto settings = kGolden;
  settings["weight_decay"] = "0.1";
  CHECK(largest_difference(golden_run(settings, dtype),
                           {.49532378, -.29505779, .80978751, -.09232516, .38874721, -.61744787}) <
        golden_tolerance(dtype));
}

TEST_CASE("the first update of adamw is the sign of the gradient") {
  std::vector<Parameter> params{
      parameter({"w", ParamKind::matrix, {2, 3}, {}, ""}, golden_start())};
  Optimizer optimizer(params, configured({{"lr", "0.01"}}));
  set_grad(params[0], golden_gradient(1));
  optimizer.step();
  const Values w = weights(params);
  // |u| = |g| / (|g| + eps) with |g| > 0.01 and eps = 1e-8: 1 within 1e-6, times the rate.
  for (std::size_t k = 0; k < 6; ++k)
    CHECK(golden_start()[k] - w[k] ==
          Approx(std::copysign(0.01, golden_gradient(1)[k])).epsilon(1e-6));
}

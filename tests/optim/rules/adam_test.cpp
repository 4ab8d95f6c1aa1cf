#include "tests/optim/optim_cases.h"
#include "tests/support/catch.h"

using namespace muonlab;
using namespace muonlab::testing;

namespace {

const std::map<std::string, std::string> kGolden{
    {"optimizer", "adam"}, {"lr", "0.01"}, {"adam.beta2", "0.95"}, {"weight_decay", "0.1"}};

}  // namespace

// Golden vector: torch.optim.Adam, f64.
TEST_CASE("adam with decay takes the golden steps") {
  const DType dtype = GENERATE(DType::f64, DType::f32);
  CHECK(largest_difference(golden_run(kGolden, dtype),
                           {.48335186, -.28797764, .79590928, -.09009798, .38089824, -.58087929}) <
        golden_tolerance(dtype));
}

TEST_CASE("without decay adam is adamw, with decay it is not") {
  const auto run = [](const std::string& rule, const std::string& decay) {
    return golden_run(
        {{"optimizer", rule}, {"lr", "0.01"}, {rule + ".beta2", "0.95"}, {"weight_decay", decay}},
        DType::f64);
  };
  CHECK(same_bits(run("adam", "0"), run("adamw", "0")));
  CHECK(largest_difference(run("adam", "0.1"), run("adamw", "0.1")) > 1e-3);
}

TEST_CASE("the decay of adam goes through its moments") {
  // Where there is no gradient, decay w alone is what its first update takes the sign of.
  std::vector<Parameter> params{
      parameter({"w", ParamKind::matrix, {2, 3}, {}, ""}, golden_start())};
  Optimizer optimizer(params, configured(kGolden));
  set_grad(params[0], Values(6, 0));
  optimizer.step();
  const Values w = weights(params);
  // |u| = x / (x + eps), x = 0.1 |w| > 0.01, eps = 1e-8: 1 within 1e-6, times the rate.
  for (std::size_t k = 0; k < 6; ++k)
    CHECK(golden_start()[k] - w[k] == Approx(std::copysign(0.01, golden_start()[k])).epsilon(1e-6));
}

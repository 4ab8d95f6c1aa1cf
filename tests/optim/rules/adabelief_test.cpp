#include "tests/optim/optim_cases.h"
#include "tests/support/catch.h"

using namespace muonlab;
using namespace muonlab::testing;

namespace {

const std::map<std::string, std::string> kGolden{
    {"optimizer", "adabelief"}, {"lr", "0.01"}, {"weight_decay", "0.1"}};

}  // namespace

// Golden vectors: adabelief-pytorch 0.2.0, f64.
TEST_CASE("adabelief takes the golden steps") {
  const DType dtype = GENERATE(DType::f64, DType::f32);
  CHECK(largest_difference(golden_run(kGolden, dtype),
                           {.49883193, -.29925432, .79877207, -.09915092, .39782673, -.59902743}) <
        golden_tolerance(dtype));
}

TEST_CASE("adabelief without rectification takes the golden steps") {
  const DType dtype = GENERATE(DType::f64, DType::f32);
  auto settings = kGolden;
  settings.emplace("adabelief.rectify", "false");
  CHECK(largest_difference(golden_run(settings, dtype),
                           {.49493080, -.29448687, .81103867, -.09135942, .38762412, -.62005110}) <
        golden_tolerance(dtype));
}

TEST_CASE("adabelief rectifies from the sixth update on") {
  // With beta2 = 0.999 the mean square is five long, n >= 5, at t = 6. Until then an update is the
  // mean gradient; from a constant gradient 2 that is 2.
  std::vector<Parameter> params{parameter({"w", ParamKind::bias, {1}, {}, ""}, {0})};
  Optimizer optimizer(params, configured({{"optimizer", "adabelief"}, {"lr", "0.5"}}));
  for (int t = 1; t <= 5; ++t) {
    set_grad(params[0], {2});
    optimizer.step();
    CHECK(weights(params)[0] == Approx(-t));
  }
  set_grad(params[0], {2});
  optimizer.step();
  CHECK(std::abs(weights(params)[0] + 6) > 0.1);
}

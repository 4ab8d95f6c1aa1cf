#include "tests/optim/optim_cases.h"
#include "tests/support/catch.h"

using namespace muonlab;
using namespace muonlab::testing;

// Golden vectors: torch.optim.SGD, f64.
TEST_CASE("sgd with momentum takes the golden steps") {
  const DType dtype = GENERATE(DType::f64, DType::f32);
  const Values w = golden_run({{"optimizer", "sgd"}, {"lr", "0.1"}}, dtype);
  CHECK(largest_difference(w, {.50782534, -.30578544, .81261368, -.09690569, .39073163,
                               -.61302352}) < golden_tolerance(dtype));
}

TEST_CASE("sgd with Nesterov momentum and an L2 penalty takes the golden steps") {
  const DType dtype = GENERATE(DType::f64, DType::f32);
  const Values w = golden_run({{"optimizer", "sgd"},
                               {"lr", "0.1"},
                               {"sgd.nesterov", "true"},
                               {"sgd.l2", "true"},
                               {"weight_decay", "0.1"}},
                              dtype);
  CHECK(largest_difference(w, {.46889614, -.28306296, .74649157, -.09127423, .36186775,
                               -.56493498}) < golden_tolerance(dtype));
}

TEST_CASE("sgd without momentum is plain descent") {
  const Values w =
      golden_run({{"optimizer", "sgd"}, {"lr", "0.1"}, {"sgd.momentum", "0"}}, DType::f64);
  Values expected = golden_start();
  for (int t = 1; t <= 3; ++t)
    for (std::size_t k = 0; k < 6; ++k) expected[k] -= 0.1 * golden_gradient(t)[k];
  CHECK(largest_difference(w, expected) < 1e-15);
}

TEST_CASE("options without effect beside the others of their rule say so") {
  const std::map<std::string, std::string> sgd{
      {"optimizer", "sgd"}, {"sgd.momentum", "0"}, {"lr", "0.1"}},
      ademamix{{"optimizer", "ademamix"}, {"ademamix.alpha", "0"}, {"lr", "0.1"}};
  const auto check = [](std::map<std::string, std::string> settings, const std::string& option,
                        const std::string& value, const std::string& reason) {
    INFO(option);
    CHECK(why_unused(configured(settings), option) == reason);
    const Values without = golden_run(settings, DType::f64);
    settings.emplace(option, value);
    CHECK(same_bits(golden_run(settings, DType::f64), without));
  };
  check(sgd, "sgd.nesterov", "true", "there is no momentum");
  check(sgd, "sgd.dampening", "0.5", "there is no momentum");
  check(ademamix, "ademamix.beta3", "0.5", "the slow mean has no weight");
  check(ademamix, "ademamix.warmup", "10", "the slow mean has no weight");
}

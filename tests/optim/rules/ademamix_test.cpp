#include "tests/optim/optim_cases.h"
#include "tests/support/catch.h"

using namespace muonlab;
using namespace muonlab::testing;

TEST_CASE("ademamix without its slow mean is adamw") {
  const std::map<std::string, std::string> ademamix{
      {"optimizer", "ademamix"}, {"lr", "0.01"}, {"weight_decay", "0.1"}, {"ademamix.alpha", "0"}},
      adamw{{"optimizer", "adamw"},
            {"lr", "0.01"},
            {"weight_decay", "0.1"},
            {"adamw.beta2", "0.999"}};
  // Both compute the same numbers, in another order: 2^-53 each, of weights below 1.
  CHECK(largest_difference(golden_run(ademamix, DType::f64), golden_run(adamw, DType::f64)) <
        1e-15);
}

TEST_CASE("the slow mean of ademamix grows from the fast one's half-life to its own") {
  // From a constant gradient 1, v and the fast mean's ratio are 1, so an update is 1 + alpha m2.
  const double beta1 = 0.8, beta3 = 0.99, alpha = 3;
  std::vector<Parameter> params{parameter({"w", ParamKind::bias, {1}, {}, ""}, {0})};
  Optimizer optimizer(params, configured({{"optimizer", "ademamix"},
                                          {"lr", "1"},
                                          {"ademamix.beta1", "0.8"},
                                          {"ademamix.beta3", "0.99"},
                                          {"ademamix.alpha", "3"},
                                          {"ademamix.warmup", "4"}}));
  double w = 0, m2 = 0;
  for (int t = 1; t <= 6; ++t) {
    set_grad(params[0], {1});
    optimizer.step();
    const double share = std::min(t / 4.0, 1.0);
    const double half_life =
        (1 - share) * std::log(0.5) / std::log(beta1) + share * std::log(0.5) / std::log(beta3);
    m2 += (1 - std::pow(0.5, 1 / half_life)) * (1 - m2);
    w -= 1 + share * alpha * m2;
    CHECK(weights(params)[0] == Approx(w).epsilon(1e-7));  // eps 1e-8 beside 1
  }
}

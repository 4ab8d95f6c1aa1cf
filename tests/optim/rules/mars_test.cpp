#include "tests/optim/optim_cases.h"
#include "tests/support/catch.h"

using namespace muonlab;
using namespace muonlab::testing;

namespace {

const std::map<std::string, std::string> kMars{{"optimizer", "mars"}, {"lr", "0.01"}};

}  // namespace

TEST_CASE("mars without correction is adamw, while gradients are short") {
  auto mars = kMars;
  mars.emplace("mars.gamma", "0");
  const std::map<std::string, std::string> adamw{
      {"optimizer", "adamw"}, {"lr", "0.01"}, {"adamw.beta1", "0.95"}};
  // The same numbers in another order: 2^-53 of weights below 1.
  CHECK(largest_difference(golden_run(mars, DType::f64), golden_run(adamw, DType::f64)) < 1e-15);
  CHECK(largest_difference(golden_run(kMars, DType::f64), golden_run(adamw, DType::f64)) > 1e-4);
}

TEST_CASE("mars bounds the length of each parameter's corrected gradient by 1") {
  // Two parameters with the same gradients, up to a factor that makes only one of them long: there
  // it moves as with the gradient of length 1.
  const auto run = [](double factor) {
    std::vector<Parameter> params{
        parameter({"a", ParamKind::matrix, {2, 3}, {}, ""}, golden_start()),
        parameter({"b", ParamKind::matrix, {2, 3}, {}, ""}, golden_start())};
    Optimizer optimizer(params, configured(kMars));
    for (int t = 1; t <= 2; ++t) {
      Values g = golden_gradient(t);  // of length 0.17 and 0.18
      set_grad(params[0], g);
      for (double& x : g) x *= t == 1 ? factor : 1;
      set_grad(params[1], g);
      optimizer.step();
    }
    return weights(params);
  };
  const Values ten = run(1e4), hundred = run(1e5);
  const auto part = [](const Values& v, int i) {
    return Values(v.begin() + 6 * i, v.begin() + 6 * (i + 1));
  };
  CHECK(same_bits(part(ten, 0), part(hundred, 0)));
  CHECK(largest_difference(part(ten, 1), part(ten, 0)) > 1e-4);
  // c of update 2 is about -factor, and again of length 1.
  CHECK(largest_difference(part(ten, 1), part(hundred, 1)) < 1e-5);
}

TEST_CASE("mars leaves vectors to the auxiliary rule") {
  const std::unique_ptr<Rule> mars = make_rule("mars");
  CHECK_FALSE(mars->takes(ParamKind::gain));
  CHECK_FALSE(mars->takes(ParamKind::bias));
  CHECK(mars->takes(ParamKind::embedding));
}

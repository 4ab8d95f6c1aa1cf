#include "tests/optim/optim_cases.h"
#include "tests/support/catch.h"

using namespace muonlab;
using namespace muonlab::testing;

namespace {

double number(const Optimizer& optimizer, const std::string& name) {
  for (const NamedTensor& s : optimizer.state())
    if (s.name == "opt/prodigy." + name) return s.tensor.to_vector()[0];
  throw Error("no number " + name);
}

}  // namespace

TEST_CASE("prodigy's estimate grows from nothing to about the distance to the solution") {
  // |w - target| with 100 targets of 3 or -3: from the paper's theory d ends within a small factor
  // of the distance 3, whatever it started from.
  const char* d0 = GENERATE("1e-6", "1e-3");
  INFO(d0);
  std::vector<Parameter> params{parameter({"w", ParamKind::bias, {100}, {}, ""}, Values(100, 0))};
  Optimizer optimizer(params,
                      configured({{"optimizer", "prodigy"}, {"lr", "1"}, {"prodigy.d0", d0}}));
  double before = 0;
  for (int t = 0; t < 200; ++t) {
    Values g = weights(params);
    for (std::size_t i = 0; i < g.size(); ++i) g[i] = g[i] < (i % 2 == 0 ? 3 : -3) ? -1 : 1;
    set_grad(params[0], g);
    optimizer.step();
    const double d = number(optimizer, "next_d");
    CHECK(d >= before);
    before = d;
  }
  CHECK(before > 0.3);
  CHECK(before < 3.1);
}

TEST_CASE("prodigy's decay has its estimate as a rate") {
  std::vector<Parameter> params{
      parameter({"w", ParamKind::matrix, {2, 3}, {}, ""}, golden_start())};
  Optimizer optimizer(params, configured({{"optimizer", "prodigy"},
                                          {"lr", "0.5"},
                                          {"prodigy.d0", "0.125"},
                                          {"weight_decay", "0.25"}}));
  set_grad(params[0], Values(6, 0));
  optimizer.step();
  Values expected = golden_start();
  for (double& w : expected) w *= 1 - 0.5 * 0.125 * 0.25;
  CHECK(largest_difference(weights(params), expected) < 1e-15);
}

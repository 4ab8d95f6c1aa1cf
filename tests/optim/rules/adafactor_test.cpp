#include "tests/optim/muon_reference.h"
#include "tests/support/catch.h"

using namespace muonlab;
using namespace muonlab::testing;

namespace {

using Settings = std::map<std::string, std::string>;

Values updated(ParamInfo info, const Values& start, const std::vector<Values>& gradients,
               Settings settings) {
  settings.insert({"optimizer", "adafactor"});
  std::vector<Parameter> params{parameter(std::move(info), start)};
  Optimizer optimizer(params, configured(settings));
  for (const Values& g : gradients) {
    set_grad(params[0], g);
    optimizer.step();
  }
  return weights(params);
}

}  // namespace

// Golden vector: the formulas of torch.optim.Adafactor, in f64.
TEST_CASE("adafactor takes the golden steps") {
  const DType dtype = GENERATE(DType::f64, DType::f32);
  CHECK(largest_difference(golden_run({{"optimizer", "adafactor"}, {"lr", "0.01"}}, dtype),
                           {.49945560, -.29977606, .79993937, -.09891764, .40071567, -.60068051}) <
        golden_tolerance(dtype));
}

TEST_CASE("where the squares have rank one, adafactor knows them exactly") {
  // G = a b^T: V = G^2, so the first update is the sign of G times the size of the weight.
  const Values a = gaussian(4, 1), b = gaussian(5, 2);
  Values g, expected(20, 2);
  for (const double x : a)
    for (const double y : b) g.push_back(x * y);
  for (std::size_t i = 0; i < 20; ++i) expected[i] -= 0.5 * 2 * (g[i] > 0 ? 1 : -1);
  CHECK(largest_difference(
            updated({"w", ParamKind::matrix, {4, 5}, {}, ""}, Values(20, 2), {g}, {{"lr", "0.5"}}),
            expected) < 1e-12);
}

TEST_CASE("a vector keeps all its squares, and the rate falls with the root of the update") {
  const std::vector<Values> g{gaussian(6, 3), gaussian(6, 4), gaussian(6, 5)};
  Values w = gaussian(6, 6), v(6, 0);
  const Values start = w;
  for (int t = 1; t <= 3; ++t) {
    const double b = std::pow(t, -0.8);
    Values u(6);
    double weight = 0, length = 0;
    for (std::size_t i = 0; i < 6; ++i) {
      const double x = g[static_cast<std::size_t>(t - 1)][i];
      v[i] += b * (x * x - v[i]);
      u[i] = x / std::sqrt(v[i]);
      weight += w[i] * w[i] / 6;
      length += u[i] * u[i] / 6;
    }
    const double rate = std::sqrt(weight) * std::min(0.8, 1 / std::sqrt(t)) /
                        std::max(1.0, std::sqrt(length) / 0.9);
    for (std::size_t i = 0; i < 6; ++i) w[i] -= rate * u[i];
  }
  CHECK(largest_difference(updated({"b", ParamKind::bias, {6}, {}, ""}, start, g,
                                   {{"lr", "0.8"}, {"adafactor.clip", "0.9"}}),
                           w) < 1e-13);
}

TEST_CASE("adafactor keeps a number per row and one per column") {
  const std::unique_ptr<Rule> rule = make_rule("adafactor");
  std::int64_t words = 0;
  for (const StateSpec& s :
       rule->state({"qkv", ParamKind::matrix, {9, 4}, {{0, 4, "q"}, {4, 9, "kv"}}, ""}))
    words += s.shape.value_or(Shape{9, 4}).numel();
  CHECK(words == 9 + 4);
}

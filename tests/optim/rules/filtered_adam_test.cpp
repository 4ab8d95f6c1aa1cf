#include "tests/optim/optim_cases.h"
#include "tests/support/catch.h"

using namespace muonlab;
using namespace muonlab::testing;

namespace {

using Settings = std::map<std::string, std::string>;

/// The weight 0 after each of these gradients.
Values path(Settings settings, const Values& gradients) {
  settings.insert({{"optimizer", "filtered_adam"}, {"lr", "1"}});
  std::vector<Parameter> params{parameter({"w", ParamKind::bias, {1}, {}, ""}, {0})};
  Optimizer optimizer(params, configured(settings));
  Values all;
  for (const double g : gradients) {
    set_grad(params[0], {g});
    optimizer.step();
    all.push_back(weights(params)[0]);
  }
  return all;
}

const Values kNoisy{1, -0.5, 0.3, 2, -1, 0.7, 0.2, -0.3, 5, -4, 1, 1};

}  // namespace

TEST_CASE("filtered_adam takes the golden steps") {
  const DType dtype = GENERATE(DType::f64, DType::f32);
  const Values w = golden_run({{"optimizer", "filtered_adam"},
                               {"lr", "0.01"},
                               {"filtered_adam.beta2", "0.95"},
                               {"filtered_adam.filter", "0.5"},
                               {"filtered_adam.gamma", "1"},
                               {"filtered_adam.t0", "1"}},
                              dtype);
  CHECK(largest_difference(w, {.49841192, -.29689408, .80804434, -.09371047, .39275551,
                               -.61145788}) < golden_tolerance(dtype));
}

TEST_CASE("filtered_adam without its filter is Adam, without and with bias correction") {
  const Settings open{{"filtered_adam.filter", "0"}, {"filtered_adam.t0", "1"}};
  const Settings wide{{"filtered_adam.gamma", "1e9"}, {"filtered_adam.t0", "1"}};
  Values expected;
  double m = 0, v = 0, w = 0;
  for (const double g : kNoisy) {
    m = 0.9 * m + 0.1 * g;
    v = 0.999 * v + 0.001 * g * g;
    w -= m / (std::sqrt(v) + 1e-8);
    expected.push_back(w);
  }
  CHECK(largest_difference(path(open, kNoisy), expected) < 1e-12);
  CHECK(largest_difference(path(wide, kNoisy), expected) < 1e-12);
  CHECK(path({}, {3})[0] == Approx(-0.1 / std::sqrt(0.001)).epsilon(1e-6));  // 3.16 rates

  const Settings corrected{{"filtered_adam.filter", "0"},
                           {"filtered_adam.bias_correction", "true"}};
  const Values w_corrected = path(corrected, kNoisy);
  CHECK(w_corrected[0] == Approx(-1).epsilon(1e-6));
  std::vector<Parameter> params{parameter({"w", ParamKind::bias, {1}, {}, ""}, {0})};
  Optimizer adam(params,
                 configured({{"optimizer", "adamw"}, {"lr", "1"}, {"adamw.beta2", "0.999"}}));
  for (std::size_t i = 0; i < kNoisy.size(); ++i) {
    set_grad(params[0], {kNoisy[i]});
    adam.step();
    CHECK(w_corrected[i] == Approx(weights(params)[0]).epsilon(1e-9));
  }
}

TEST_CASE("filtered_adam lets pass what is within gamma deviations, and bounds an outlier") {
  // After ten updates of small gradients, one of 1e6: what is let through is gamma sigma at most.
  Values calm(10, 0.01), shocked = calm;
  shocked.push_back(1e6);
  const Settings whole{{"filtered_adam.filter", "1"}, {"filtered_adam.beta2", "0.9"}};
  const Settings open{{"filtered_adam.filter", "0"}, {"filtered_adam.beta2", "0.9"}};
  const Values w = path(whole, shocked);
  double m = 0, v = 0;
  for (const double g : calm) {
    m = 0.9 * m + 0.1 * g;
    v = 0.9 * v + 0.1 * g * g;
  }
  const double g = m + 3 * (std::sqrt(v - m * m) + 1e-8);
  m = 0.9 * m + 0.1 * g;
  v = 0.9 * v + 0.1 * g * g;
  CHECK(w[9] - w[10] == Approx(m / (std::sqrt(v) + 1e-8)).epsilon(1e-9));
  // A gradient within the bound is the gradient.
  Values usual = calm;
  usual.push_back(0.011);
  CHECK(same_bits(path(whole, usual), path(open, usual)));
}

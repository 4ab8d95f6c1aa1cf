#include "optim/optimizer.h"

#include <cmath>
#include <limits>

#include "tests/optim/optim_cases.h"
#include "tests/support/catch.h"

using namespace muonlab;
using namespace muonlab::testing;

namespace {

std::vector<Parameter> pair_of_vectors() {
  return {parameter({"a", ParamKind::bias, {2}, {}, ""}, {1, 2}),
          parameter({"b", ParamKind::bias, {1}, {}, ""}, {3})};
}

std::map<std::string, std::string> descent(const std::string& clip) {
  return {{"optimizer", "sgd"}, {"sgd.momentum", "0"}, {"lr", "1"}, {"grad_clip", clip}};
}

}  // namespace

TEST_CASE("gradients are clipped by their global norm, before the rule") {
  std::vector<Parameter> params = pair_of_vectors();
  Optimizer optimizer(params, configured(descent("2")));
  set_grad(params[0], {2, 3});
  set_grad(params[1], {6});  // the norm is 7
  CHECK(optimizer.step().grad_norm == Approx(7));
  const double factor = 2 / (7 + 1e-6);
  CHECK(largest_difference(weights(params), {1 - 2 * factor, 2 - 3 * factor, 3 - 6 * factor}) <
        1e-14);
  // Clipping is a factor: what backward wrote stays.
  CHECK(params[0].grad().to_vector() == Values{2, 3});

  set_grad(params[0], {0.2, 0.3});
  set_grad(params[1], {0.6});
  const Values before = weights(params);
  optimizer.step();  // below the limit
  CHECK(largest_difference(weights(params), {before[0] - 0.2, before[1] - 0.3, before[2] - 0.6}) <
        1e-14);
}

TEST_CASE("a momentum averages clipped gradients") {
  // Clipping after the rule would leave the same first update, but not the same second one.
  std::vector<Parameter> params{parameter({"w", ParamKind::bias, {1}, {}, ""}, {0})};
  Optimizer optimizer(
      params,
      configured({{"optimizer", "sgd"}, {"sgd.momentum", "0.5"}, {"lr", "1"}, {"grad_clip", "1"}}));
  set_grad(params[0], {100});
  optimizer.step();
  set_grad(params[0], {0});
  optimizer.step();
  CHECK(weights(params)[0] == Approx(-1.5).epsilon(1e-7));  // 1e-6 in the divisor: 1e-8
}

TEST_CASE("a gradient that is not finite stops the update, and is named") {
  for (const std::string rule : {"adamw", "muon"}) {
    for (const double bad : {std::nan(""), std::numeric_limits<double>::infinity()}) {
      std::vector<Parameter> params = zoo(DType::f32);
      Optimizer optimizer(params, configured({{"optimizer", rule}}));
      set_zoo_grads(params, 1);
      optimizer.step();
      const auto everything = [&] {
        Values all = weights(params);
        for (const NamedTensor& s : optimizer.state()) {
          const Values v = s.tensor.to_vector();
          all.insert(all.end(), v.begin(), v.end());
        }
        return all;
      };
      const Values before = everything();
      set_zoo_grads(params, 2);
      Values g = gaussian(params[4].info.shape.numel(), 3);
      g[5] = bad;
      set_grad(params[4], g);
      set_grad(params[7], Values(8, bad));
      const StepReport report = optimizer.step();
      CHECK(report.skipped);
      CHECK(report.non_finite == "tall");
      CHECK_FALSE(std::isfinite(report.grad_norm));
      CHECK(optimizer.steps_done() == 1);
      CHECK(same_bits(everything(), before));

      set_zoo_grads(params, 2);
      CHECK_FALSE(optimizer.step().skipped);
      CHECK(optimizer.steps_done() == 2);
      CHECK_FALSE(same_bits(everything(), before));
    }
  }
}

TEST_CASE("the rate follows the schedule and the rule") {
  std::vector<Parameter> params{parameter({"w", ParamKind::matrix, {1, 1}, {}, ""}, {0}),
                                parameter({"b", ParamKind::bias, {1}, {}, ""}, {0})};
  OptimizerConfig config = configured({{"optimizer", "muon"},
                                       {"aux", "sgd"},
                                       {"sgd.momentum", "0"},
                                       {"lr", "0.5"},
                                       {"aux_lr", "0.25"}});
  config.schedule.warmup = 3;
  Optimizer optimizer(params, std::move(config));
  double moved = 0;
  for (int it = 0; it < 5; ++it) {
    set_grad(params[0], {1});
    set_grad(params[1], {1});
    const double factor = it < 3 ? (it + 1) / 4.0 : 1;
    CHECK(optimizer.step().lr == Approx(0.5 * factor));
    moved += 0.25 * factor;
    CHECK(weights(params)[1] == Approx(-moved));
  }
}

TEST_CASE("the table of an optimizer has one row for each parameter") {
  std::vector<Parameter> params = zoo();
  const Optimizer optimizer(params, configured({{"optimizer", "muon"}}));
  REQUIRE(optimizer.routes().size() == params.size());
  CHECK(optimizer.routes()[1].param == "qkv");
}

TEST_CASE("state is named after parameter and moment") {
  std::vector<Parameter> params{
      parameter({"h.0.w", ParamKind::matrix, {2, 3}, {}, ""}, golden_start()),
      parameter({"h.0.b", ParamKind::bias, {1}, {}, ""}, {0})};
  const Optimizer optimizer(params, configured({{"optimizer", "muon"}}));
  std::map<std::string, Shape> found;
  for (const NamedTensor& s : optimizer.state()) found[s.name] = s.tensor.shape();
  const std::map<std::string, Shape> expected{
      {"opt/h.0.w/momentum", {2, 3}}, {"opt/h.0.b/m", {1}}, {"opt/h.0.b/v", {1}}};
  CHECK(found == expected);
}

TEST_CASE("a parameter without a gradient is an error that names it") {
  std::vector<Parameter> params = pair_of_vectors();
  Optimizer optimizer(params, configured({}));
  set_grad(params[0], {1, 1});
  try {
    optimizer.step();
    FAIL("no error");
  } catch (const Error& e) {
    CHECK(std::string(e.what()).find("'b'") != std::string::npos);
  }
  CHECK(weights(params) == Values{1, 2, 3});
  set_grad(params[1], {1});
  optimizer.step();
  optimizer.zero_grad();
  CHECK_THROWS_AS(optimizer.step(), Error);
}

TEST_CASE("an optimizer without parameters does nothing") {
  Optimizer optimizer({}, configured({}));
  CHECK(optimizer.step().grad_norm == 0);
}

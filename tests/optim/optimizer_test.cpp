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

TEST_CASE("cautious keeps what agrees with the gradient and makes it longer") {
  // The direction of sgd with momentum 0.5 in the second update is b = g2 + g1 / 2.
  const Values w0{1, 2, 3, 4}, g1{4, -4, 4, 2}, g2{1, 1, -1, 0};
  const Values u{3, 0, 0, 0};  // of (3, -1, 1, 1) what has the sign of g2
  for (const bool clipped : {false, true}) {
    std::vector<Parameter> params{parameter({"w", ParamKind::matrix, {2, 2}, {}, ""}, w0)};
    Optimizer optimizer(params, configured({{"optimizer", "sgd"},
                                            {"sgd.momentum", "0.5"},
                                            {"lr", "0.5"},
                                            {"weight_decay", "0.25"},
                                            {"grad_clip", clipped ? "1000" : "0"},
                                            {"cautious", "true"}}));
    Values expected = w0;
    set_grad(params[0], g1);
    optimizer.step();  // all agree
    for (std::size_t i = 0; i < 4; ++i) expected[i] -= 0.5 * (g1[i] + 0.25 * expected[i]);
    CHECK(largest_difference(weights(params), expected) < 1e-14);
    set_grad(params[0], g2);
    optimizer.step();  // one of four, so four times as long; the decay is not masked
    for (std::size_t i = 0; i < 4; ++i) expected[i] -= 0.5 * (4 * u[i] + 0.25 * expected[i]);
    CHECK(largest_difference(weights(params), expected) < 1e-14);
  }
}

TEST_CASE("cautious divides by a thousandth at least, and signs do not underflow") {
  Values w0(2000, 0), g1(2000, 1e-30), g2(2000, -5e-31);
  g2[7] = 5e-31;
  std::vector<Parameter> params{parameter({"w", ParamKind::bias, {2000}, {}, ""}, w0, DType::f32)};
  Optimizer optimizer(
      params,
      configured(
          {{"optimizer", "sgd"}, {"sgd.momentum", "0.999"}, {"lr", "1"}, {"cautious", "true"}}));
  set_grad(params[0], g1);
  optimizer.step();
  const Values before = weights(params);
  set_grad(params[0], g2);  // the momentum keeps its sign
  optimizer.step();
  const Values after = weights(params);
  std::size_t moved = 0;
  for (std::size_t i = 0; i < after.size(); ++i) moved += after[i] != before[i];
  CHECK(moved == 1);
  // 24 bits at the most of a weight of 1e-30 are lost.
  CHECK((after[7] - before[7]) / -1e-30 == Approx(1000 * 1.499).epsilon(1e-6));
}

TEST_CASE("cautious decay spares what the direction makes larger") {
  for (const char* cautious : {"false", "true"}) {
    const Values w0{1, -1, 1, -1, 0, 1}, g{1, 1, -1, -1, 1, 0};
    std::vector<Parameter> params{parameter({"w", ParamKind::matrix, {2, 3}, {}, ""}, w0)};
    Optimizer optimizer(params, configured({{"optimizer", "sgd"},
                                            {"lr", "0.5"},
                                            {"weight_decay", "0.25"},
                                            {"cautious", cautious},
                                            {"cautious_decay", "true"}}));
    set_grad(params[0], g);
    optimizer.step();
    // Without a direction (the last) there is decay: update times weight is not negative.
    const double alpha = cautious[0] == 't' ? 6.0 / 5 : 1;
    Values expected;
    for (std::size_t i = 0; i < w0.size(); ++i)
      expected.push_back(w0[i] - 0.5 * (alpha * g[i] + (g[i] * w0[i] >= 0 ? 0.25 * w0[i] : 0)));
    CHECK(largest_difference(weights(params), expected) < 1e-14);
  }
}

namespace {

/// What a rule may ask of the driver beside a direction, each in its simplest form.
class Bare : public ElementwiseRule {
 public:
  OptionTable options() override { return {}; }
  std::vector<StateSpec> state(const ParamInfo&) const override { return {}; }
  Lane direction(const StepInfo&, Lanes& p) const override { return p.g; }
};

template <class R>
OptimizerConfig with_rule(std::map<std::string, std::string> settings = {}) {
  OptimizerConfig config = configured(std::move(settings));
  config.add_rule("mine", std::make_unique<R>());
  config.optimizer = "mine";
  return config;
}

}  // namespace

TEST_CASE("a rule may evaluate other weights than it trains, and training does not notice") {
  struct Averaging final : Bare {
    std::vector<StateSpec> state(const ParamInfo&) const override {
      return {{"mean", {}, StateSpec::Start::weight}};
    }
    Lane direction(const StepInfo&, Lanes& p) const override {
      p.state[0] = 0.5 * (p.state[0] + p.w);
      return p.g;
    }
    std::optional<Lane> evaluated(const Lanes& p) const override {
      return lerp(p.w, p.state[0], 3.0);
    }
  };
  std::vector<Parameter> params = pair_of_vectors(), undisturbed = pair_of_vectors();
  Optimizer optimizer(params, with_rule<Averaging>({{"lr", "0.3"}}));
  Optimizer other(undisturbed, with_rule<Averaging>({{"lr", "0.3"}}));
  Values saved, training;
  for (int t = 1; t <= 4; ++t) {
    for (std::vector<Parameter>* list : {&params, &undisturbed}) {
      set_grad((*list)[0], {0.1 * t, 1});
      set_grad((*list)[1], {1.0 / t});
    }
    optimizer.step();
    other.step();
    training = weights(params);
    Values expected = training;
    std::size_t k = 0;
    for (const NamedTensor& s : optimizer.state())
      for (const double mean : s.tensor.to_vector()) {
        expected[k] += 3 * (mean - expected[k]);
        ++k;
      }
    {
      const EvalWeights shown(optimizer);
      CHECK(largest_difference(weights(params), expected) < 1e-14);
      CHECK_FALSE(same_bits(weights(params), training));
      saved = weights(params);
    }
    CHECK(same_bits(weights(params), weights(undisturbed)));
  }

  // A checkpoint holds the weights to use under the parameters' names, and what training needs.
  std::vector<Parameter> resumed = pair_of_vectors();
  Optimizer second(resumed, with_rule<Averaging>({{"lr", "0.3"}}));
  {
    const EvalWeights from(optimizer), to(second);
    const std::vector<NamedTensor> kept = optimizer.state();
    std::vector<NamedTensor> into = second.state();
    REQUIRE(kept.size() == 4);
    for (std::size_t i = 0; i < kept.size(); ++i) {
      CHECK(kept[i].name == into[i].name);
      into[i].tensor.copy_from(kept[i].tensor);
    }
    CHECK(kept[1].name == "opt/a/training");
    for (std::size_t i = 0; i < params.size(); ++i) resumed[i].value().copy_from(params[i].value());
    CHECK(same_bits(weights(resumed), saved));
  }
  CHECK(same_bits(weights(resumed), training));
}

TEST_CASE("a rule may sum over all of its parameters before it steps, and keep numbers") {
  struct Summing final : Bare {
    std::vector<StateSpec> state(const ParamInfo&) const override { return {{"seen"}}; }
    std::vector<NumberSpec> numbers() const override { return {{"total", 10}, {"lr", 0}}; }
    std::vector<Lane> terms(const StepInfo&, Lanes& p) const override {
      p.state[0] = p.state[0] + p.g;
      return {p.g * p.w, 1.0};
    }
    std::vector<double> next_numbers(const StepInfo& s,
                                     std::span<const double> sums) const override {
      CHECK(sums[1] == 3);
      return {s.numbers[0] + sums[0], s.lr};
    }
    Lane direction(const StepInfo& s, Lanes& p) const override {
      return p.g * s.numbers[0] + p.state[0];
    }
  };
  for (const char* cautious : {"false", "true"}) {
    std::vector<Parameter> params = pair_of_vectors();
    Optimizer optimizer(params, with_rule<Summing>({{"lr", "0.01"}, {"cautious", cautious}}));
    Values w = weights(params), seen(3, 0);
    double total = 10;
    for (int t = 1; t <= 3; ++t) {
      const Values g{0.5 * t, -1, 2};
      set_grad(params[0], {g[0], g[1]});
      set_grad(params[1], {g[2]});
      optimizer.step();
      for (std::size_t i = 0; i < 3; ++i) total += g[i] * w[i];
      for (std::size_t i = 0; i < 3; ++i) {
        seen[i] += g[i];
        w[i] -= 0.01 * (g[i] * total + seen[i]);
      }
      CHECK(largest_difference(weights(params), w) < 1e-13);
    }
    std::map<std::string, double> numbers;
    for (const NamedTensor& s : optimizer.state())
      if (s.name.rfind("opt/mine.", 0) == 0) numbers[s.name] = s.tensor.item();
    REQUIRE(numbers.size() == 2);
    CHECK(numbers["opt/mine.total"] == Approx(total).epsilon(1e-14));
    CHECK(numbers["opt/mine.lr"] == 0.01);
    // They are handles: what is read into them is what the next step goes on from.
    for (NamedTensor s : optimizer.state())
      if (s.name == "opt/mine.total") s.tensor.fill(0);
    set_grad(params[0], {0, 0});
    set_grad(params[1], {0});
    optimizer.step();
    CHECK(optimizer.state()[0].tensor.item() == 0);
  }
}

TEST_CASE("a rule may ask for gradients at sampled labels every so often") {
  struct Observing final : Bare {
    std::vector<StateSpec> state(const ParamInfo&) const override { return {{"h"}}; }
    std::int64_t sampling_interval() const override { return 3; }
    void observe(const StepInfo& s, Lanes& p) const override {
      p.state[0] = p.state[0] + static_cast<double>(s.tokens * s.t) * p.g;
    }
  };
  std::vector<Parameter> params = pair_of_vectors();
  Optimizer optimizer(params, with_rule<Observing>({{"lr", "1"}, {"grad_clip", "0.1"}}));
  const auto gradients = [&](double x) {
    set_grad(params[0], {x, x});
    set_grad(params[1], {x});
  };
  const auto h = [&] { return optimizer.state()[0].tensor.to_vector()[0]; };
  gradients(1);
  const Values start = weights(params);
  CHECK_THROWS_AS(optimizer.step(), ConfigError);
  CHECK(same_bits(weights(params), start));
  double expected = 0;
  for (int t = 1; t <= 7; ++t) {
    CHECK(optimizer.wants_sampled() == (t % 3 == 1));
    if (optimizer.wants_sampled()) {
      gradients(2);
      optimizer.take_sampled(5);
      expected += 5 * t * 2;  // not clipped
      CHECK_FALSE(optimizer.wants_sampled());
    }
    CHECK(h() == expected);
    gradients(1);
    optimizer.step();
  }
  set_grad(params[0], {std::nan(""), 1});
  optimizer.set_steps_done(3);
  optimizer.take_sampled(5);  // without effect
  CHECK(h() == expected);
  CHECK_FALSE(optimizer.wants_sampled());
}

TEST_CASE("a rule may have its own first values and its own decay") {
  struct Own final : Bare {
    std::vector<StateSpec> state(const ParamInfo&) const override {
      return {{"first", {}, StateSpec::Start::weight}, {"noise", {}, StateSpec::Start::normal}};
    }
    void initialise(const ParamInfo& info, Tensor& w) const override {
      w.fill(info.name == "a" ? 4 : 8);
    }
    bool decays() const override { return true; }
    Lane direction(const StepInfo&, Lanes& p) const override { return p.g + 100.0 * p.decay; }
  };
  for (const char* cautious : {"false", "true"}) {
    std::vector<Parameter> params{
        parameter({"a", ParamKind::matrix, {1, 200}, {}, ""}, Values(200, 1)),
        parameter({"b", ParamKind::bias, {1}, {}, ""}, {3})};
    const auto config = [&] {
      return with_rule<Own>({{"lr", "1"}, {"weight_decay", "0.5"}, {"cautious", cautious}});
    };
    initialise(params, config());
    Optimizer optimizer(params, config());
    Values expected(200, 4);
    expected.push_back(8);
    CHECK(weights(params) == expected);
    std::map<std::string, Values> state;
    for (const NamedTensor& s : optimizer.state()) state[s.name] = s.tensor.to_vector();
    CHECK(state["opt/a/first"] == Values(200, 4));
    const Values& noise = state["opt/a/noise"];
    double sum = 0, squares = 0;
    for (const double x : noise) {
      sum += x;
      squares += x * x;
    }
    // Four standard errors of 200 normal numbers: 1/sqrt(200) of the mean, sqrt(2/200) of squares.
    CHECK(std::abs(sum / 200) < 0.29);
    CHECK(std::abs(squares / 200 - 1) < 0.4);
    CHECK(state["opt/b/noise"][0] != noise[0]);

    set_grad(params[0], Values(200, 1));
    set_grad(params[1], {1});
    optimizer.step();
    for (double& w : expected) w -= 51;
    expected.back() = 7;  // a vector has no decay
    CHECK(largest_difference(weights(params), expected) < 1e-12);
  }
}

TEST_CASE("options on a ramp have their value of each update") {
  const std::map<std::string, std::string> settings{{"optimizer", "sgd"},
                                                    {"lr", "0.5"},
                                                    {"sgd.momentum", "0.25->0.75 over 2"},
                                                    {"weight_decay", "0->0.5 over 4"}};
  const auto w0 = [] {
    return std::vector<Parameter>{parameter({"w", ParamKind::matrix, {1, 1}, {}, ""}, {1})};
  };
  std::vector<Parameter> params = w0();
  Optimizer optimizer(params, configured(settings));
  const std::vector<double> momentum{0.25, 0.5, 0.75, 0.75}, decay{0, 0.125, 0.25, 0.375};
  double w = 1, b = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    set_grad(params[0], {1});
    optimizer.step();
    b = momentum[i] * b + 1;
    w -= 0.5 * (b + decay[i] * w);
    CHECK(weights(params)[0] == w);  // all of it is exact in f64
  }
  // A resumed run is where it would be.
  std::vector<Parameter> resumed = w0();
  Optimizer second(resumed, configured(settings));
  second.set_steps_done(4);
  resumed[0].value().fill(w);
  second.state()[0].tensor.fill(b);
  set_grad(resumed[0], {1});
  second.step();
  CHECK(weights(resumed)[0] == w - 0.5 * (0.75 * b + 1 + 0.5 * w));
}

TEST_CASE("an option that decides what is kept cannot be on a ramp") {
  struct Sized final : Bare {
    std::int64_t rank = 2;
    OptionTable options() override {
      return OptionBuilder().integer("mine.rank", rank, {1, 8}, "").table();
    }
    std::vector<StateSpec> state(const ParamInfo&) const override {
      return std::vector<StateSpec>(static_cast<std::size_t>(rank), {"part"});
    }
  };
  for (const char* to : {"2", "3"}) {
    OptimizerConfig config = with_rule<Sized>();
    for (const Option& o : options(config))
      if (o.name == "mine.rank") o.set(std::string("2->") + to + " over 5");
    const auto make = [&] { Optimizer(pair_of_vectors(), std::move(config)); };
    if (to[0] == '2')
      CHECK_NOTHROW(make());
    else
      CHECK_THROWS_AS(make(), ConfigError);
  }
}

TEST_CASE("factors of a route act, and a rule with two rates sums over both") {
  std::vector<Parameter> params{parameter({"a", ParamKind::matrix, {1, 1}, {}, ""}, {1}),
                                parameter({"b", ParamKind::matrix, {1, 1}, {}, ""}, {1}),
                                parameter({"c", ParamKind::bias, {1}, {}, ""}, {1})};
  Optimizer optimizer(params, configured({{"optimizer", "sgd"},
                                          {"sgd.momentum", "0"},
                                          {"lr", "0.5"},
                                          {"weight_decay", "0.25"},
                                          {"route", "name=a: lr*0.5 decay*2; name=c: decay*1"}}));
  for (Parameter& p : params) set_grad(p, {1});
  optimizer.step();
  CHECK(weights(params) == Values{1 - 0.25 * 1.5, 1 - 0.5 * 1.25, 1 - 0.5 * 1.25});
}

TEST_CASE("an optimizer without parameters does nothing") {
  Optimizer optimizer({}, configured({}));
  CHECK(optimizer.step().grad_norm == 0);
}

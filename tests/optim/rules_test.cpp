// What every rule in the registry must do. A new rule is tested here without a line of its own.
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "core/checkpoint.h"
#include "core/cpu/parallel.h"
#include "optim/optimizer.h"
#include "tests/optim/optim_cases.h"
#include "tests/support/catch.h"

using namespace muonlab;
using namespace muonlab::testing;

namespace {

using Settings = std::map<std::string, std::string>;

constexpr int kUpdates = 3;

/// What a rule needs beside the common settings for all of its options to matter within kUpdates,
/// and rates (and what else) at which it descends; a rule without a line has the first.
struct Particular {
  Settings busy{};
  std::string quadratic = "0.05", valley = "0.02";
  Settings descent{};
};
Particular particular(const std::string& rule) {
  static const std::map<std::string, Particular> all{
      // Rectified, its first updates see no mean square. An eps of 1e-16 is seen by none.
      {"adabelief",
       {.busy = {{"adabelief.rectify", "false"}, {"adabelief.eps", "1e-8"}}, .quadratic = "0.1"}},
      {"adafactor", {.busy = {{"adafactor.eps2", "10"}}}},
      {"adagrad", {.quadratic = "1", .valley = "0.5"}},
      {"ademamix", {.busy = {{"ademamix.warmup", "4"}}}},
      {"adamuon", {.busy = {{"adamuon.v_eps", "1e-4"}}, .quadratic = "0.2"}},
      {"adopt", {.quadratic = "0.1"}},
      {"coupled_muon",
       {.busy = {{"coupled_muon.iterations", "4"}, {"coupled_muon.rel_eps", "0.01"}},
        .quadratic = "0.2"}},
      {"dion", {.quadratic = "0.2"}},
      {"dion2", {.busy = {{"dion2.fraction", "0.5"}, {"dion2.eps", "1e-6"}}, .quadratic = "0.4"}},
      {"filtered_adam", {.busy = {{"filtered_adam.t0", "1"}, {"filtered_adam.gamma", "0.5"}}}},
      {"lion", {.quadratic = "0.02"}},
      {"muon", {.quadratic = "0.2"}},
      {"normuon", {.quadratic = "0.2"}},
      {"prodigy", {.busy = {{"lr", "1"}, {"prodigy.d0", "0.01"}}, .quadratic = "1", .valley = "1"}},
      {"schedule_free_adamw", {.quadratic = "0.2", .valley = "0.1"}},
      {"scion",
       {.quadratic = "0.002", .valley = "0.0005", .descent = {{"scion.radius_vector", "20"}}}},
      // Where the curvature is 1000, a plain gradient step must stay below 2/1000.
      {"sgd", {.valley = "0.0002"}},
      {"shampoo",
       {.busy = {{"shampoo.interval", "1"},
                 {"shampoo.start_step", "1"},
                 {"shampoo.max_dim", "8"}}}},
      {"signum", {.quadratic = "0.02"}},
      {"soap", {.busy = {{"soap.interval", "1"}, {"soap.max_dim", "8"}}}},
      {"sophia_g", {.busy = {{"sophia_g.interval", "2"}}}},
  };
  const auto found = all.find(rule);
  return found == all.end() ? Particular{} : found->second;
}

Settings descending(const std::string& rule, const std::string& lr, const std::string& aux_lr) {
  Settings settings = particular(rule).descent;
  settings.insert({{"optimizer", rule}, {"lr", lr}, {"aux_lr", aux_lr}, {"schedule", "linear"}});
  return settings;
}

/// Gradients against labels drawn from the model, if they are wanted before update t.
void sample(Optimizer& optimizer, std::vector<Parameter>& params, int t) {
  if (!optimizer.wants_sampled()) return;
  for (std::size_t i = 0; i < params.size(); ++i)
    set_grad(params[i], gaussian(params[i].info.shape.numel(),
                                 1000000 + 1000 * static_cast<std::uint64_t>(t) + i));
  optimizer.take_sampled(1);
}

/// Update t on gradients that do not depend on the weights.
void update(Optimizer& optimizer, std::vector<Parameter>& params, int t) {
  sample(optimizer, params, t);
  set_zoo_grads(params, t);
  optimizer.step();
}

/// The zoo's weights after some updates of everything that can be switched on, with one option
/// changed by `change`.
template <class F>
Values run_zoo(const Settings& settings, const F& change, DType dtype = DType::f64) {
  OptimizerConfig config = configured(settings);
  config.schedule.horizon = kUpdates + 1;
  change(config);
  std::vector<Parameter> params = zoo(dtype);
  Optimizer optimizer(params, std::move(config));
  for (int t = 1; t <= kUpdates; ++t) update(optimizer, params, t);
  return weights(params);
}
Values run_zoo(const Settings& settings, DType dtype = DType::f64) {
  return run_zoo(
      settings, [](OptimizerConfig&) {}, dtype);
}

Settings busy(const std::string& rule, const std::string& schedule = "constant") {
  Settings settings{{"optimizer", rule}, {"lr", "0.01"},  {"weight_decay", "0.1"},
                    {"grad_clip", "1"},  {"warmup", "1"}, {"schedule", schedule},
                    {"cooldown", "0.9"}};
  for (const auto& [name, value] : particular(rule).busy) settings[name] = value;
  return settings;
}

Option& find(OptionTable& table, const std::string& name) {
  for (Option& o : table)
    if (o.name == name) return o;
  throw Error("no option " + name);
}

/// Sets an option to an allowed value that it does not have now.
void perturb(OptimizerConfig& config, const std::string& name) {
  OptionTable table = options(config);
  Option& option = find(table, name);
  const std::string now = option.get();
  std::vector<std::string> values;
  if (option.is_flag) {
    values = {now == "true" ? "false" : "true"};
  } else if (option.range.find('|') != std::string::npos) {
    for (std::size_t at = 0; at < option.range.size();) {
      const std::size_t end = std::min(option.range.find(" | ", at), option.range.size());
      values.push_back(option.range.substr(at, end - at));
      at = end + 3;
    }
  } else if (option.range.rfind("a whole number", 0) == 0) {
    values = {std::to_string(std::stoll(now) + 1)};
  } else {
    values = {to_text(std::stod(now) == 0 ? 0.5 : std::stod(now) / 2), to_text(2 * std::stod(now))};
  }
  for (const std::string& value : values) {
    if (value == now) continue;
    try {
      option.set(value);
      route(zoo(), config);
      return;
    } catch (const ConfigError&) {  // out of range, or an auxiliary rule that cannot take the rest
    }
  }
  throw Error("no other value for " + name);
}

}  // namespace

TEST_CASE("every option of every rule changes the weights, or is reported as unused") {
  for (const std::string& rule : rule_names()) {
    for (const std::string schedule : {"constant", "cosine", "linear", "wsd"}) {
      const Settings settings = busy(rule, schedule);
      const Values base = run_zoo(settings);
      OptimizerConfig config = configured(settings);
      for (const Option& option : options(config)) {
        const std::string unused = why_unused(config, option.name);
        const Values changed =
            run_zoo(settings, [&](OptimizerConfig& c) { perturb(c, option.name); });
        INFO(rule << ", " << schedule << ": " << option.name << " [" << unused << "]");
        // An eps of 1e-8 beside gradients of 1e-2 moves updates of 1e-2 by 1e-8. The Gram form is
        // the same polynomial by other products, which is seen in the rounding alone.
        const bool same_polynomial = option.name.ends_with(".gram");
        if (unused.empty())
          CHECK(largest_difference(base, changed) > (same_polynomial ? 0 : 1e-9));
        else
          CHECK(same_bits(base, changed));
      }
    }
  }
}

TEST_CASE("a resumed run has the bits of an uninterrupted one, and needs its state for it") {
  const DType dtype = GENERATE(DType::f64, DType::f32);
  for (const std::string& rule : rule_names()) {
    INFO(rule);
    const auto advance = [](Optimizer& o, std::vector<Parameter>& p, int from, int to) {
      for (int t = from; t <= to; ++t) update(o, p, t);
    };
    std::vector<Parameter> whole = zoo(dtype), half = zoo(dtype), resumed = zoo(dtype),
                           bare = zoo(dtype);
    Optimizer uninterrupted(whole, configured(busy(rule, "cosine")));
    advance(uninterrupted, whole, 1, 6);

    Optimizer first(half, configured(busy(rule, "cosine")));
    advance(first, half, 1, 3);
    std::vector<NamedTensor> saved = first.state();
    for (const Parameter& p : half) saved.push_back({p.info.name, p.value()});
    const std::filesystem::path file =
        std::filesystem::temp_directory_path() /
        ("muonlab_resume_" + std::to_string(getpid()) + ".safetensors");
    write_tensors(file, saved, {});

    Optimizer second(resumed, configured(busy(rule, "cosine")));
    std::vector<NamedTensor> into = second.state();
    for (const Parameter& p : resumed) into.push_back({p.info.name, p.value()});
    TensorFile(file).read_all(into);
    std::filesystem::remove(file);
    second.set_steps_done(3);
    advance(second, resumed, 4, 6);
    CHECK(same_bits(weights(resumed), weights(whole)));

    Optimizer third(bare, configured(busy(rule, "cosine")));
    for (std::size_t i = 0; i < bare.size(); ++i) bare[i].value().copy_from(half[i].value());
    third.set_steps_done(3);
    advance(third, bare, 4, 6);
    if (!make_rule(rule)->state(whole[0].info).empty())
      CHECK_FALSE(same_bits(weights(bare), weights(whole)));
  }
}

TEST_CASE("every rule gives the same bits on any number of threads") {
  const int before = cpu::threads();
  for (const std::string& rule : rule_names()) {
    INFO(rule);
    cpu::set_threads(1);
    const Values one = run_zoo(busy(rule), DType::f32);
    for (const int threads : {2, 3, 8}) {
      cpu::set_threads(threads);
      CHECK(same_bits(run_zoo(busy(rule), DType::f32), one));
    }
  }
  cpu::set_threads(before);
}

TEST_CASE("no rule touches a gradient") {
  for (const std::string& rule : rule_names())
    for (const char* clip : {"0", "1"}) {
      INFO(rule << ", clip " << clip);
      std::vector<Parameter> params = zoo();
      Settings settings = busy(rule);
      settings["grad_clip"] = clip;
      Optimizer optimizer(params, configured(settings));
      sample(optimizer, params, 1);
      set_zoo_grads(params, 1);
      std::vector<Values> before;
      for (const Parameter& p : params) before.push_back(p.grad().to_vector());
      optimizer.step();
      optimizer.step();
      for (std::size_t i = 0; i < params.size(); ++i)
        CHECK(same_bits(params[i].grad().to_vector(), before[i]));
    }
}

TEST_CASE("every rule sees a clipped gradient as if backward had scaled it") {
  for (const std::string& rule : rule_names()) {
    INFO(rule);
    std::vector<Parameter> clipped = zoo(), scaled = zoo();
    Settings settings = busy(rule);
    Optimizer by_driver(clipped, configured(settings));
    settings["grad_clip"] = "0";
    Optimizer by_hand(scaled, configured(settings));
    for (int t = 1; t <= kUpdates; ++t) {
      sample(by_driver, clipped, t);
      sample(by_hand, scaled, t);
      set_zoo_grads(clipped, t);
      set_zoo_grads(scaled, t);
      // A spike in one update only: else a rule that ignores the scale of all gradients would pass.
      for (std::vector<Parameter>* params : {&clipped, &scaled})
        for (Parameter& p : *params) {
          Values g = p.grad().to_vector();
          for (double& x : g) x *= t == 2 ? 1 : 1e-3;
          set_grad(p, g);
        }
      const double norm = by_driver.step().grad_norm;
      CHECK((norm > 1) == (t == 2));
      for (Parameter& p : scaled) {
        Values g = p.grad().to_vector();
        for (double& x : g) x *= std::min(1.0, 1 / (norm + 1e-6));
        set_grad(p, g);
      }
      by_hand.step();
    }
    CHECK(largest_difference(weights(clipped), weights(scaled)) < 1e-13);
  }
}

TEST_CASE("with a zero gradient from the start only the decay acts") {
  for (const std::string& rule : rule_names()) {
    if (make_rule(rule)->decays()) continue;  // otherwise, and tested with the rule
    INFO(rule);
    std::vector<Parameter> params = zoo();
    const std::vector<Parameter> start = zoo();
    Optimizer optimizer(params, configured({{"optimizer", rule},
                                            {"lr", "0.5"},
                                            {"aux_lr", "0.5"},
                                            {"weight_decay", "0.25"},
                                            {"grad_clip", "1"}}));
    sample(optimizer, params, 1);
    for (Parameter& p : params)
      set_grad(p, Values(static_cast<std::size_t>(p.info.shape.numel()), 0.0));
    optimizer.step();
    for (std::size_t i = 0; i < params.size(); ++i) {
      Values expected = start[i].value().to_vector();
      if (params[i].info.shape.rank() >= 2)
        for (double& w : expected) w *= 1 - 0.5 * 0.25;  // exact: a power of two and three bits
      CHECK(largest_difference(params[i].value().to_vector(), expected) < 1e-15);
    }
  }
}

TEST_CASE("every rule descends on a quadratic of mixed shapes") {
  // 0.5 |w - target|^2, at rates at which each rule crosses the distance of about 1.4 per element
  // within the run.
  for (const std::string& rule : rule_names()) {
    INFO(rule);
    OptimizerConfig config = configured(descending(rule, particular(rule).quadratic, "0.05"));
    config.schedule.horizon = 200;
    std::vector<Parameter> params = zoo();
    std::vector<Values> targets;
    for (const Parameter& p : params)
      targets.push_back(gaussian(p.info.shape.numel(), 7 + targets.size()));
    Optimizer optimizer(params, std::move(config));
    const auto loss = [&] {  // and its gradient
      double sum = 0;
      for (std::size_t i = 0; i < params.size(); ++i) {
        Values g = params[i].value().to_vector();
        for (std::size_t k = 0; k < g.size(); ++k) {
          g[k] -= targets[i][k];
          sum += 0.5 * g[k] * g[k];
        }
        set_grad(params[i], g);
      }
      return sum;
    };
    const double start = loss();
    for (int t = 0; t < 200; ++t) {
      sample(optimizer, params, t);
      loss();
      optimizer.step();
    }
    const EvalWeights evaluated(optimizer);
    CHECK(loss() < 0.01 * start);
  }
}

TEST_CASE("every rule descends along Rosenbrock's valley") {
  // One valley for each column (x, y) of a matrix and one for a vector: (1 - x)^2 + 100 (y -
  // x^2)^2.
  for (const std::string& rule : rule_names()) {
    INFO(rule);
    std::vector<Parameter> params{
        parameter({"m", ParamKind::matrix, {2, 3}, {}, ""}, {-1.2, -1, 0, 1, 1, 1}),
        parameter({"v", ParamKind::gain, {2}, {}, ""}, {-1.2, 1})};
    OptimizerConfig config = configured(descending(rule, particular(rule).valley, "0.02"));
    config.schedule.horizon = 1000;
    Optimizer optimizer(params, std::move(config));
    const auto loss = [&] {
      double sum = 0;
      for (Parameter& p : params) {
        const Values w = p.value().to_vector();
        const std::size_t n = w.size() / 2;
        Values g(w.size());
        for (std::size_t k = 0; k < n; ++k) {
          const double x = w[k], y = w[n + k], valley = y - x * x;
          sum += (1 - x) * (1 - x) + 100 * valley * valley;
          g[k] = -2 * (1 - x) - 400 * x * valley;
          g[n + k] = 200 * valley;
        }
        set_grad(p, g);
      }
      return sum;
    };
    const double start = loss();
    for (int t = 0; t < 1000; ++t) {
      sample(optimizer, params, t);
      loss();
      optimizer.step();
    }
    const EvalWeights evaluated(optimizer);
    CHECK(loss() < 0.1 * start);
  }
}

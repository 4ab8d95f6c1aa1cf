#include "optim/config.h"

#include <algorithm>
#include <set>

#include "tests/optim/optim_cases.h"
#include "tests/support/catch.h"

using namespace muonlab;
using namespace muonlab::testing;

namespace {

/// An option of a rule as the rule itself has it.
std::string member(const OptimizerConfig& config, const std::string& name) {
  for (const Option& o : config.rule(name.substr(0, name.find('.'))).options())
    if (o.name == name) return o.get();
  throw Error("no option " + name);
}

}  // namespace

TEST_CASE("every option of a rule carries the rule's name, and no two options share one") {
  std::set<std::string> names;
  OptimizerConfig config;
  for (const Option& o : options(config)) CHECK(names.insert(o.name).second);
  for (const std::string& rule : rule_names())
    for (const Option& o : make_rule(rule)->options()) {
      CHECK(o.name.rfind(rule + ".", 0) == 0);
      CHECK(names.count(o.name) == 1);
    }
}

TEST_CASE("rules are sorted, and an unknown one is answered with the nearest") {
  const std::vector<std::string> names = rule_names();
  CHECK(std::is_sorted(names.begin(), names.end()));
  try {
    make_rule("adamww");
    FAIL("no error");
  } catch (const ConfigError& e) {
    CHECK(std::string(e.what()).find("'adamw'") != std::string::npos);
  }
  CHECK_THROWS_AS(OptimizerConfig().rule("moun"), ConfigError);
}

TEST_CASE("every optimizer option reads back, and refuses nonsense") {
  OptimizerConfig config;
  for (Option& o : options(config)) {
    INFO(o.name);
    o.set(o.fallback);
    CHECK(o.get() == o.fallback);
    for (const char* nonsense : {"", "nan", "-1", "-inf", "1e400", "yes please"}) {
      if (o.range == "text" && nonsense == std::string()) continue;
      CHECK_THROWS_AS(o.set(nonsense), ConfigError);
      CHECK(o.get() == o.fallback);
    }
  }
}

TEST_CASE("options are those of one configuration, also after it has moved") {
  OptimizerConfig a = configured({{"muon.momentum", "0.5"}});
  const OptimizerConfig b = std::move(a);
  CHECK(member(b, "muon.momentum") == "0.5");
  CHECK(member(OptimizerConfig(), "muon.momentum") == "0.95");
}

namespace {

Option option_of(OptimizerConfig& config, const std::string& name) {
  for (const Option& o : options(config))
    if (o.name == name) return o;
  throw Error("no option " + name);
}

std::string message_of(const Option& option, const std::string& value) {
  try {
    option.set(value);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("a number may be on its way from one value to another") {
  OptimizerConfig config;
  const Option momentum = option_of(config, "muon.momentum");
  for (const char* text : {"0.85->0.95 over 300", " 0.85 ->  0.95   over 300 "}) {
    momentum.set(text);
    CHECK(momentum.get() == "0.85->0.95 over 300");
    CHECK(member(config, "muon.momentum") == "0.85");
  }
  const Ramp ramp = config.ramps.at("muon.momentum");
  CHECK(ramp.at(0) == 0.85);
  CHECK(ramp.at(150) == Approx(0.9).epsilon(1e-15));
  CHECK(ramp.at(300) == 0.95);
  CHECK(ramp.at(1000000) == 0.95);
  momentum.set("0.5");
  CHECK(momentum.get() == "0.5");
  CHECK(config.ramps.empty());
}

TEST_CASE("a ramp with a bad end is refused, and the end is named") {
  OptimizerConfig config;
  const Option momentum = option_of(config, "muon.momentum");
  momentum.set("0.25->0.75 over 8");
  const std::vector<std::pair<std::string, std::string>> bad{
      {"0.85->1.5 over 300", "'1.5' is not allowed; expected a number in [0, 1) (the end of"},
      {"-1->0.95 over 300", "'-1' is not allowed; expected a number in [0, 1) (the start of"},
      {"nan->0.95 over 300", "(the start of"},
      {"->0.95 over 300", "(the start of"},
      {"0.85->0.95", "or the way from one to another"},
      {"0.85->0.95 over 0", "(the updates of '0.85->0.95 over 0')"},
      {"0.85->0.95 over many", "'many' is not allowed; expected a whole number"}};
  for (const auto& [value, part] : bad) {
    const std::string message = message_of(momentum, value);
    INFO(value << ": " << message);
    CHECK(message.rfind("--muon.momentum", 0) == 0);
    CHECK(message.find(part) != std::string::npos);
    CHECK(message.find(value) != std::string::npos);
    CHECK(momentum.get() == "0.25->0.75 over 8");
  }
  // The rate has the schedule, and the schedule no schedule.
  for (const char* name : {"lr", "aux_lr", "warmup", "cooldown", "lr_min_factor"})
    CHECK(message_of(option_of(config, name), "0.1->0.2 over 3") != "no error");
}

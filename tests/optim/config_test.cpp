#include "optim/config.h"

#include <algorithm>
#include <set>

#include "tests/optim/optim_cases.h"
#include "tests/support/catch.h"

using namespace muonlab;
using namespace muonlab::testing;

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
    make_rule("adam");
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
      CHECK_THROWS_AS(o.set(nonsense), ConfigError);
      CHECK(o.get() == o.fallback);
    }
  }
}

TEST_CASE("options are those of one configuration, also after it has moved") {
  OptimizerConfig a = configured({{"muon.momentum", "0.5"}});
  const OptimizerConfig b = std::move(a);
  const auto momentum = [](const OptimizerConfig& c) { return c.rule("muon").options()[0].get(); };
  CHECK(momentum(b) == "0.5");
  CHECK(momentum(OptimizerConfig()) == "0.95");
}

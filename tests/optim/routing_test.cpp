#include "optim/routing.h"

#include <algorithm>
#include <sstream>

#include "tests/optim/optim_cases.h"
#include "tests/support/catch.h"

using namespace muonlab;
using namespace muonlab::testing;

namespace {

const Route& row(const std::vector<Route>& routes, const std::string& param) {
  const auto found =
      std::find_if(routes.begin(), routes.end(), [&](const Route& r) { return r.param == param; });
  if (found == routes.end()) throw Error("no route for " + param);
  return *found;
}

/// What the error says with muon for matrices and more settings; "" if there is none.
std::string refused(std::span<const Parameter> params,
                    std::map<std::string, std::string> settings) {
  settings["optimizer"] = "muon";
  try {
    route(params, configured(settings));
  } catch (const ConfigError& e) {
    return e.what();
  }
  return "";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("the auxiliary rule may be any that takes every kind of parameter") {
  for (const std::string& rule : rule_names()) {
    INFO(rule);
    const std::string error = refused(zoo(), {{"aux", rule}});
    if (takes_all(*make_rule(rule)))
      CHECK(error.empty());
    else
      CHECK(contains(error, "--aux " + rule));
  }
}

TEST_CASE("the first pattern that matches decides rule, rate and decay") {
  const std::vector<Route> routes =
      route(zoo(), configured({{"optimizer", "muon"},
                               {"aux", "adamw"},
                               {"lr", "0.02"},
                               {"aux_lr", "0.003"},
                               {"weight_decay", "0.5"},
                               {"route",
                                "kind=embedding name=w?e: sgd lr*0.5 decay*0;"
                                " kind=embedding: decay*3 ;name=qkv*: adamw; kind=router: muon "
                                "lr*2; name=*: lr*4; "}}));
  const auto check = [&](const char* name, const std::string& rule, double lr, double decay,
                         const std::string& reason) {
    INFO(name);
    CHECK(row(routes, name).rule == rule);
    CHECK(row(routes, name).lr == Approx(lr).epsilon(1e-15));
    CHECK(row(routes, name).decay == decay);
    CHECK(contains(row(routes, name).reason, reason));
  };
  check("wte", "sgd", 0.0015, 0, "--route kind=embedding name=w?e");
  check("large", "adamw", 0.003, 1.5, "--route kind=embedding");
  check("qkv", "adamw", 0.003, 0.5, "--route name=qkv*");
  check("qkv.bias", "adamw", 0.003, 0, "no decay below rank 2");
  check("router", "muon", 0.04, 0.5, "--route kind=router");
  check("tall", "muon", 0.08, 0.5, "--route name=*");
  check("norm", "adamw", 0.012, 0, "--route name=*");
  CHECK(row(routes, "qkv").seen_as == "(8, 4)");
  CHECK(row(routes, "router").seen_as == "(2, 4)");
}

TEST_CASE("a decay that a pattern names holds for vectors too") {
  CHECK(row(route(zoo(), configured({{"weight_decay", "0.5"}, {"route", "kind=gain: decay*1"}})),
            "norm")
            .decay == 0.5);
}

TEST_CASE("what is wrong with a pattern is said") {
  const std::vector<std::pair<std::string, std::string>> bad{
      {"kind=embeding: adamw",
       "kind 'embeding' that there is not: expected one of matrix, expert, "
       "embedding, head, router, gain, bias (did you mean 'embedding'?)"},
      {"kind=head: adamv", "rule 'adamv' that there is not"},
      {"kind=head adamw", "no ':'"},
      {": adamw", "needs a pattern"},
      {"kind=head:", "needs a pattern before the ':' and a rule or a factor behind it"},
      {"head: adamw", "'head' in its pattern, which is neither"},
      {"kind=head: adamw sgd", "two rules, adamw and sgd"},
      {"kind=head: lr*-1", "'-1' is not allowed"},
      {"kind=head: decay*nan", "'nan' is not allowed"},
      {"kind=head: lr*", "'' is not allowed"},
      {"name=nothing*: adamw", "'name=nothing*' matches no parameter"},
      {"kind=head: adamw; name=head: sgd", "'name=head' matches no parameter that those before"},
      {"kind=gain: muon", "'norm' is a gain of shape (4)"}};
  for (const auto& [routes, part] : bad) {
    const std::string error = refused(zoo(), {{"route", routes}});
    INFO(routes << ": " << error);
    CHECK(contains(error, part));
  }
}

TEST_CASE("muon takes matrices and experts, the auxiliary rule takes the rest") {
  const std::vector<Route> routes = route(zoo(), configured({{"optimizer", "muon"},
                                                             {"aux", "sgd"},
                                                             {"lr", "0.02"},
                                                             {"aux_lr", "0.003"},
                                                             {"weight_decay", "0.1"}}));
  for (const char* name : {"qkv", "tall", "faint", "experts"}) {
    INFO(name);
    CHECK(row(routes, name).rule == "muon");
    CHECK(row(routes, name).lr == 0.02);
  }
  for (const char* name : {"wte", "large", "qkv.bias", "router", "norm", "head"}) {
    INFO(name);
    CHECK(row(routes, name).rule == "sgd");
    CHECK(row(routes, name).lr == 0.003);
  }
  CHECK(row(routes, "qkv").seen_as == "(4, 4) + 2 x (2, 4)");
  CHECK(row(routes, "qkv").reason == "packed q, k, v");
  CHECK(row(routes, "experts").seen_as == "2 x (4, 6)");
}

TEST_CASE("an elementwise rule takes every parameter") {
  for (const Route& r : route(zoo(), configured({{"optimizer", "adamw"}, {"lr", "0.5"}}))) {
    CHECK(r.rule == "adamw");
    CHECK(r.lr == 0.5);
    CHECK(r.seen_as == r.shape.str());
  }
}

TEST_CASE("decay is for tensors of rank 2 and more") {
  for (const Route& r : route(zoo(), configured({{"weight_decay", "0.1"}})))
    CHECK(r.decay == (r.shape.rank() >= 2 ? 0.1 : 0));
}

TEST_CASE("parameters that no rule can take are refused by name") {
  const auto fails = [](const ParamInfo& info) {
    const std::vector<Parameter> params{make_parameter(info)};
    return refused(params, {}).find("'" + info.name + "'") != std::string::npos;
  };
  CHECK(fails({"vector", ParamKind::matrix, {4}, {}, ""}));
  CHECK(fails({"qkv", ParamKind::matrix, {6, 4}, {{0, 2, "q"}}, ""}));
  CHECK_FALSE(fails({"w", ParamKind::matrix, {6, 4}, {}, ""}));

  const std::vector<Parameter> twins{make_parameter({"w", ParamKind::matrix, {2, 2}, {}, ""}),
                                     make_parameter({"w", ParamKind::matrix, {2, 2}, {}, ""})};
  CHECK_THROWS_AS(route(twins, configured({})), ConfigError);
}

TEST_CASE("the table has a header, a line a parameter, and aligned columns") {
  std::vector<Parameter> params = zoo();
  params[0].info.note = "tied with the head";
  const std::vector<Route> routes = route(params, configured({{"optimizer", "muon"}}));
  std::istringstream text(to_string(routes));
  std::vector<std::string> lines;
  for (std::string line; std::getline(text, line);) lines.push_back(line);
  REQUIRE(lines.size() == params.size() + 1);
  for (const char* column : {"kind", "rule", "reason"}) {
    const std::size_t at = lines[0].find(column);
    REQUIRE(at != std::string::npos);
    for (const std::string& line : lines) {
      CHECK(line[at - 1] == ' ');
      CHECK(line[at] != ' ');
    }
  }
  CHECK(lines[1].find("tied with the head") != std::string::npos);
  for (const Route& r : routes) CHECK_FALSE(r.reason.empty());
}

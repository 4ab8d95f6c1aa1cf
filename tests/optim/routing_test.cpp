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

}  // namespace

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
  const auto fails = [](const ParamInfo& info, const std::string& aux) {
    const std::vector<Parameter> params{make_parameter(info)};
    try {
      route(params, configured({{"optimizer", "muon"}, {"aux", aux}}));
    } catch (const ConfigError& e) {
      return std::string(e.what()).find("'" + info.name + "'") != std::string::npos;
    }
    return false;
  };
  CHECK(fails({"wte", ParamKind::embedding, {4, 4}, {}, ""}, "muon"));
  CHECK(fails({"vector", ParamKind::matrix, {4}, {}, ""}, "adamw"));
  CHECK(fails({"qkv", ParamKind::matrix, {6, 4}, {{0, 2, "q"}}, ""}, "adamw"));
  CHECK_FALSE(fails({"w", ParamKind::matrix, {6, 4}, {}, ""}, "muon"));

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

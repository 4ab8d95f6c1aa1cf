#include <fmt/format.h>

#include "apps/cli.h"
#include "apps/commands.h"
#include "apps/display.h"
#include "apps/presets.h"
#include "apps/route_table.h"
#include "apps/train_config.h"
#include "nn/gpt.h"

namespace muonlab {
namespace {

struct RoutesConfig {
  std::string config;
  bool json = false;
};

OptionTable options(RoutesConfig& c) {
  return OptionBuilder()
      .text("config", c.config,
            "file of option values, such as a run folder's config.toml; flags win")
      .boolean("json", c.json, "the table as one JSON object")
      .table();
}

}  // namespace

int routes_command(std::span<const std::string> arguments) {
  RoutesConfig call;
  TrainConfig config;
  CommandSpec spec{"routes",
                   "Which parameter goes to which update rule, at which rate and decay, and why; "
                   "for the options of a training run, without training.",
                   "", config.groups()};
  const OptionGroup call_group{"This call", options(call)};
  spec.groups.insert(spec.groups.begin(), call_group);
  const auto given = parse_flags(spec, arguments);
  if (!given) return 0;
  const auto [call_flags, flags] = split_flags(*given, call_group);
  assign({&call_group, 1}, call_flags);
  std::vector<Assignment> file;
  if (!call.config.empty()) file = read_config(call.config);
  config.layer(file, flags);
  // The number of tokens, which the data know, changes no route: they need not be there.
  const std::string& preset = config.run.preset;
  config.model.vocab_size = config.data.vocab_size > 0 ? config.data.vocab_size
                            : preset.empty()           ? 256
                                                       : find_preset(preset).vocab_size;
  const Gpt model(config.model, config.run.seed);
  const std::vector<Route> routes = route(model.parameters(), config.optimizer);
  if (call.json) {
    std::vector<JsonObject> rows;
    for (const Route& r : routes) rows.push_back(to_json(r));
    JsonObject object;
    object.add("optimizer", config.optimizer.optimizer).add("routes", rows);
    fmt::print("{}\n", object.str());
  } else {
    fmt::print("{}", fitted(routes, describe_terminal(stdout).text_width()));
  }
  return 0;
}

}  // namespace muonlab

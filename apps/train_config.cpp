#include "apps/train_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <set>

#include "apps/presets.h"
#include "core/backend.h"
#include "core/error.h"

namespace muonlab {
namespace {

std::vector<Assignment> as_assignments(
    std::span<const std::pair<std::string, std::string>> values) {
  std::vector<Assignment> list;
  for (const auto& [name, value] : values) list.push_back({name, value, ""});
  return list;
}

/// Options that a resumed run may change: they do not touch its bits, but for the device, which
/// rounds in its own way.
constexpr std::array<std::string_view, 8> kChangeable{
    "device",        "steps",        "time_limit",          "threads",
    "eval_interval", "eval_batches", "checkpoint_interval", "log_interval"};

}  // namespace

OptionTable options(RunConfig& c) {
  std::string names;
  for (const Preset& preset : presets()) names += (names.empty() ? "" : " | ") + preset.name;
  OptionTable table =
      OptionBuilder()
          .text("preset", c.preset, "option values to start from")
          .integer("steps", c.steps, {1, 1e9}, "updates to make")
          .integer("horizon", c.horizon, {0, 1e9},
                   "updates over which the learning-rate schedule runs; 0: as many as steps")
          .number("time_limit", c.time_limit, {0, 1e9}, "stop after this many seconds; 0: never")
          .integer("batch", c.batch, {1, 65536}, "windows per micro-batch")
          .integer("grad_accum", c.grad_accum, {1, 65536}, "micro-batches per update")
          .integer("seed", c.seed, "decides initial weights, batches and dropout")
          .integer("threads", c.threads, {0, 1024}, "threads; 0: the cores of the machine")
          .choice("device", c.device, {"cpu", "cuda", "auto"},
                  "where to compute; auto: on a GPU where there is one")
          .enumeration(
              "precision", c.precision, {"f32", "tf32", "bf16"},
              "on GPUs; tf32: faster products of shorter factors; bf16: shorter still, and "
              "activations too")
          .integer("eval_interval", c.eval_interval, {0, 1e9},
                   "updates between two evaluations; 0: none")
          .integer("eval_batches", c.eval_batches, {1, 1e6},
                   "batches of the fixed validation subset that is used during training")
          .integer("checkpoint_interval", c.checkpoint_interval, {0, 1e9},
                   "updates between two checkpoints; 0: at the end only")
          .integer("log_interval", c.log_interval, {1, 1e9}, "updates between two lines of metrics")
          .table();
  table.front().range = names;
  return table;
}

Device open_device(const RunConfig& config) {
  const Device device = parse_device(config.device);
  backend_of(device).set_precision(config.precision);
  return device;
}

std::vector<OptionGroup> TrainConfig::groups() {
  std::vector<OptionGroup> list;
  list.push_back({"Run", options(run)});
  list.push_back({"Model", options(model)});
  list.push_back({"Data", options(data)});
  list.push_back({"Optimizer and schedule", {}});
  const std::size_t common = list.size() - 1;
  for (Option& option : options(optimizer)) {
    const std::size_t dot = option.name.find('.');
    if (dot == std::string::npos) {
      list[common].options.push_back(std::move(option));
      continue;
    }
    const std::string title = "Rule " + option.name.substr(0, dot);
    if (list.back().title != title) list.push_back({title, {}});
    list.back().options.push_back(std::move(option));
  }
  return list;
}

void TrainConfig::layer(std::span<const Assignment> file, std::span<const Assignment> flags) {
  const auto given = [&](std::string_view name) {
    const std::string* value = find_assignment(flags, name);
    return value ? value : find_assignment(file, name);
  };
  const std::vector<OptionGroup> all = groups();
  if (const std::string* name = given("optimizer"))
    assign(all, as_assignments(optimizer_defaults(*name)));
  const std::string* preset = given("preset");
  if (preset && !preset->empty()) assign(all, as_assignments(find_preset(*preset).values));
  assign(all, file);
  assign(all, flags);
}

void TrainConfig::resolve() {
  if (run.horizon == 0) run.horizon = run.steps;
  optimizer.schedule.horizon = run.horizon;
  if (run.steps > run.horizon && optimizer.schedule.factor(run.horizon) == 0)
    throw ConfigError(
        fmt::format("--steps {}: the learning rate is 0 from step {} on, where its schedule ends "
                    "(--horizon), so "
                    "more steps would change nothing",
                    run.steps, run.horizon));
  std::error_code error;
  if (!data.data.empty() && std::filesystem::exists(data.data, error) && data.data != "builtin" &&
      data.data != "shakespeare")
    data.data = std::filesystem::canonical(data.data).string();
}

ResumeConflicts resume_conflicts(TrainConfig& saved, TrainConfig& now) {
  std::map<std::string, std::string> before;
  for (const OptionGroup& group : saved.groups())
    for (const Option& option : group.options) before[option.name] = option.get();
  std::set<std::string> of_optimizer;
  for (const Option& option : options(now.optimizer)) of_optimizer.insert(option.name);
  ResumeConflicts conflicts;
  for (const OptionGroup& group : now.groups())
    for (const Option& option : group.options) {
      const bool changeable =
          std::find(kChangeable.begin(), kChangeable.end(), option.name) != kChangeable.end();
      const std::string value = option.get();
      if (changeable || value == before[option.name]) continue;
      (of_optimizer.contains(option.name) ? conflicts.optimizer : conflicts.others)
          .push_back(fmt::format("{} is '{}' in the run and '{}' here", option.name,
                                 before[option.name], value));
    }
  return conflicts;
}

}  // namespace muonlab

#include "optim/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <set>
#include <string>
#include <utility>

#include "core/error.h"
#include "optim/routing.h"

namespace muonlab {

bool takes_all(const Rule& rule) {
  return std::all_of(std::begin(kParamKinds), std::end(kParamKinds),
                     [&](ParamKind kind) { return rule.takes(kind); });
}

OptimizerConfig::OptimizerConfig() {
  for (const std::string& name : muonlab::rule_names()) rules_[name] = make_rule(name);
}
OptimizerConfig::~OptimizerConfig() = default;
OptimizerConfig::OptimizerConfig(OptimizerConfig&&) noexcept = default;
OptimizerConfig& OptimizerConfig::operator=(OptimizerConfig&&) noexcept = default;

void OptimizerConfig::add_rule(const std::string& name, std::unique_ptr<Rule> rule) {
  rules_[name] = std::move(rule);
}

std::vector<std::string> OptimizerConfig::rule_names() const {
  std::vector<std::string> names;
  for (const auto& [name, rule] : rules_) names.push_back(name);
  return names;
}

Rule& OptimizerConfig::rule(const std::string& name) const {
  if (!rules_.contains(name)) make_rule(name);  // throws, with the nearest name
  return *rules_.at(name);
}

namespace {

std::string trimmed(const std::string& text) {
  const std::size_t first = text.find_first_not_of(' '), last = text.find_last_not_of(' ');
  return first == std::string::npos ? "" : text.substr(first, last - first + 1);
}

/// Lets a number take a ramp as well.
void accept_ramp(Option& option, std::map<std::string, Ramp>& ramps) {
  const Option plain = option;
  option.get = [plain, &ramps] {
    const auto ramp = ramps.find(plain.name);
    return ramp == ramps.end() ? plain.get() : ramp->second.str();
  };
  option.set = [plain, &ramps](const std::string& text) {
    const std::size_t arrow = text.find("->"), over = text.rfind("over");
    if (arrow == std::string::npos) {
      plain.set(text);
      ramps.erase(plain.name);
      return;
    }
    const std::string before = plain.get();
    const auto end = [&](const char* which, const std::string& value) {
      try {
        plain.set(trimmed(value));
      } catch (const ConfigError& error) {
        throw ConfigError(fmt::format("{} (the {} of '{}')", error.what(), which, text));
      }
      return std::stod(plain.get());
    };
    try {
      if (over == std::string::npos || over < arrow)
        throw ConfigError(
            fmt::format("--{}: '{}' is not allowed; expected {}, or the way from one to another: "
                        "'{} -> {} over 300' (updates)",
                        plain.name, text, plain.range, plain.fallback, plain.fallback));
      Ramp ramp;
      OptionBuilder()
          .integer(fmt::format("{} (the updates of '{}')", plain.name, text), ramp.over,
                   {.min = 1, .max = 1e9}, "")
          .table()
          .front()
          .set(trimmed(text.substr(over + 4)));
      ramp.to = end("end", text.substr(arrow + 2, over - arrow - 2));
      ramp.from = end("start", text.substr(0, arrow));  // which the member keeps until the run
      ramps[plain.name] = ramp;
    } catch (const ConfigError&) {
      plain.set(before);
      throw;
    }
  };
}

}  // namespace

OptionTable options(OptimizerConfig& config) {
  OptionTable table =
      OptionBuilder()
          .choice("optimizer", config.optimizer, config.rule_names(), "update rule")
          .choice("aux", config.aux, config.rule_names(),
                  "rule of the parameters that `optimizer` is not made for")
          .text("route", config.route,
                "rules for some parameters: 'PATTERN: RULE lr*FACTOR decay*FACTOR; ...', where a "
                "pattern is kind=KIND or name=GLOB or both, and the first that matches counts")
          .number("lr", config.lr, {.min = 0, .max = 1000}, "peak learning rate of `optimizer`")
          .number("aux_lr", config.aux_lr, {.min = 0, .max = 1000}, "peak learning rate of `aux`")
          .number("weight_decay", config.weight_decay, {.min = 0, .max = 1000},
                  "decoupled decay, per unit of learning rate, of tensors of rank 2 and more")
          .number("grad_clip", config.grad_clip, {.min = 0},
                  "largest global gradient norm; 0: no clipping")
          .boolean("cautious", config.cautious,
                   "update only elements whose direction agrees with the gradient, and these by "
                   "more")
          .boolean("cautious_decay", config.cautious_decay,
                   "decay only elements that the direction does not push away from 0")
          .table();
  const auto append = [&](OptionTable more) {
    table.insert(table.end(), std::make_move_iterator(more.begin()),
                 std::make_move_iterator(more.end()));
  };
  for (const std::string& name : config.rule_names()) append(config.rule(name).options());
  for (Option& option : table)
    if (option.name == "route")
      option.set = [&config](const std::string& text) {
        std::string before = std::exchange(config.route, text);
        try {
          parse_routes(config);
        } catch (const ConfigError&) {
          config.route = std::move(before);
          throw;
        }
      };
  for (Option& option : table)  // the learning rate has the schedule
    if (option.put && option.name != "lr" && option.name != "aux_lr")
      accept_ramp(option, config.ramps);
  OptionTable schedule = options(config.schedule);
  const auto rules = std::find_if(table.begin(), table.end(), [](const Option& o) {
    return o.name.find('.') != std::string::npos;
  });
  table.insert(rules, std::make_move_iterator(schedule.begin()),
               std::make_move_iterator(schedule.end()));
  return table;
}

std::string why_unused(const OptimizerConfig& config, const std::string& option) {
  std::set<std::string> used{config.optimizer};
  const bool main_takes_all = takes_all(config.rule(config.optimizer));
  if (!main_takes_all) used.insert(config.aux);
  for (const RoutePattern& pattern : parse_routes(config))
    if (!pattern.rule.empty()) used.insert(pattern.rule);
  if ((option == "aux" && main_takes_all) || (option == "aux_lr" && used.size() == 1))
    return fmt::format("{} takes every parameter", config.optimizer);
  if (option == "lr_min_factor" && config.schedule.kind != ScheduleKind::cosine)
    return "only the cosine schedule has a minimum";
  if (option == "cooldown" && config.schedule.kind != ScheduleKind::wsd)
    return "only the wsd schedule has a cooldown";
  if (option == "cautious_decay" && config.weight_decay == 0) return "there is no weight decay";
  const auto all = [&](bool (Rule::*property)() const) {
    return std::all_of(used.begin(), used.end(),
                       [&](const std::string& name) { return (config.rule(name).*property)(); });
  };
  if (option == "cautious_decay" && all(&Rule::decays))
    return fmt::format("{} applies the decay itself", config.optimizer);
  if (option == "cautious" && all(&Rule::follows_signs))
    return fmt::format("no direction of {} has another sign than the gradient", config.optimizer);
  const std::string rule = option.substr(0, option.find('.'));
  const bool of_rule = rule.size() < option.size();
  if (of_rule && used.contains(rule)) return config.rule(rule).unused(option);
  if (of_rule) return fmt::format("no parameter goes to {}", rule);
  return "";
}

}  // namespace muonlab

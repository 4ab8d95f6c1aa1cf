#include "optim/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

namespace muonlab {

bool takes_all(const Rule& rule) {
  constexpr ParamKind kinds[] = {ParamKind::matrix, ParamKind::expert, ParamKind::embedding,
                                 ParamKind::head,   ParamKind::router, ParamKind::gain,
                                 ParamKind::bias};
  return std::all_of(std::begin(kinds), std::end(kinds),
                     [&](ParamKind kind) { return rule.takes(kind); });
}

OptimizerConfig::OptimizerConfig() {
  for (const std::string& name : rule_names()) rules_[name] = make_rule(name);
}
OptimizerConfig::~OptimizerConfig() = default;
OptimizerConfig::OptimizerConfig(OptimizerConfig&&) noexcept = default;
OptimizerConfig& OptimizerConfig::operator=(OptimizerConfig&&) noexcept = default;

Rule& OptimizerConfig::rule(const std::string& name) const {
  if (!rules_.contains(name)) make_rule(name);  // throws, with the nearest name
  return *rules_.at(name);
}

OptionTable options(OptimizerConfig& config) {
  OptionTable table =
      OptionBuilder()
          .choice("optimizer", config.optimizer, rule_names(), "update rule")
          .choice("aux", config.aux, rule_names(),
                  "rule of the parameters that `optimizer` is not made for")
          .number("lr", config.lr, {.min = 0, .max = 1000}, "peak learning rate of `optimizer`")
          .number("aux_lr", config.aux_lr, {.min = 0, .max = 1000}, "peak learning rate of `aux`")
          .number("weight_decay", config.weight_decay, {.min = 0, .max = 1000},
                  "decoupled decay, per unit of learning rate, of tensors of rank 2 and more")
          .number("grad_clip", config.grad_clip, {.min = 0},
                  "largest global gradient norm; 0: no clipping")
          .table();
  const auto append = [&](OptionTable more) {
    table.insert(table.end(), std::make_move_iterator(more.begin()),
                 std::make_move_iterator(more.end()));
  };
  append(options(config.schedule));
  for (const std::string& name : rule_names()) append(config.rule(name).options());
  return table;
}

std::string why_unused(const OptimizerConfig& config, const std::string& option) {
  const bool main_takes_all = takes_all(config.rule(config.optimizer));
  if (option == "aux" || option == "aux_lr")
    return main_takes_all ? fmt::format("{} takes every parameter", config.optimizer) : "";
  if (option == "lr_min_factor" && config.schedule.kind != ScheduleKind::cosine)
    return "only the cosine schedule has a minimum";
  if (option == "cooldown" && config.schedule.kind != ScheduleKind::wsd)
    return "only the wsd schedule has a cooldown";
  const std::string rule = option.substr(0, option.find('.'));
  const bool of_rule = rule.size() < option.size();
  if (of_rule && rule != config.optimizer && (main_takes_all || rule != config.aux))
    return fmt::format("no parameter goes to {}", rule);
  return "";
}

}  // namespace muonlab

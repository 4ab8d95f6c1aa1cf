#include "optim/routing.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <set>

#include "core/error.h"

namespace muonlab {
namespace {

// What a kind of parameter is to a rule that is made for matrices.
const char* nature(ParamKind kind) {
  switch (kind) {
    case ParamKind::matrix:
      return "matrix between hidden layers";
    case ParamKind::expert:
      return "stack of experts, each a matrix of its own";
    case ParamKind::embedding:
      return "table whose rows are looked up one by one";
    case ParamKind::head:
      return "output head, whose rows are tokens";
    case ParamKind::router:
      return "router, whose rows are experts";
    case ParamKind::gain:
      return "gain of a norm, no matrix";
    case ParamKind::bias:
      return "bias, no matrix";
  }
  return "?";
}

std::string reason(const ParamInfo& info, bool to_main, bool main_takes_all) {
  std::string text = main_takes_all ? "takes every parameter" : nature(info.kind);
  if (!main_takes_all && to_main && !info.blocks.empty()) {
    std::vector<std::string> roles;
    for (const Block& b : info.blocks) roles.push_back(b.role);
    text = fmt::format("packed {}", fmt::join(roles, ", "));
  }
  if (info.shape.rank() < 2) text += "; no decay below rank 2";
  if (!info.note.empty()) text += "; " + info.note;
  return text;
}

}  // namespace

std::vector<Route> route(std::span<const Parameter> params, const OptimizerConfig& config) {
  const Rule &main = config.rule(config.optimizer), &aux = config.rule(config.aux);
  std::set<std::string> names;
  std::vector<Route> routes;
  for (const Parameter& p : params) {
    const ParamInfo& info = p.info;
    if (!names.insert(info.name).second)
      throw ConfigError(fmt::format(
          "two parameters are named '{}'; state is saved by name, so each needs its own",
          info.name));
    const bool to_main = main.takes(info.kind);
    if (!to_main && !aux.takes(info.kind))
      throw ConfigError(fmt::format(
          "parameter '{}' ({}) has no optimizer: neither {} nor {} takes a {}; choose another "
          "--aux, such as adamw",
          info.name, info.shape.str(), config.optimizer, config.aux, name_of(info.kind)));
    const Rule& rule = to_main ? main : aux;
    const std::string warning = rule.warning(info);
    const double decay_factor = info.shape.rank() >= 2 ? 1 : 0;
    routes.push_back({.param = info.name,
                      .rule = to_main ? config.optimizer : config.aux,
                      .kind = info.kind,
                      .shape = info.shape,
                      .seen_as = rule.seen_as(info),
                      .lr = to_main ? config.lr : config.aux_lr,
                      .decay = config.weight_decay * decay_factor,
                      .decay_factor = decay_factor,
                      .reason = reason(info, to_main, takes_all(main)) +
                                (warning.empty() ? "" : "; warning: " + warning)});
  }
  return routes;
}

std::string to_string(std::span<const Route> routes) {
  using Row = std::array<std::string, 8>;
  std::vector<Row> rows{
      {"parameter", "kind", "shape", "rule", "seen as", "rate", "decay", "reason"}};
  for (const Route& r : routes)
    rows.push_back({r.param, name_of(r.kind), r.shape.str(), r.rule, r.seen_as, to_text(r.lr),
                    to_text(r.decay), r.reason});
  std::array<std::size_t, std::tuple_size_v<Row>> widths{};
  for (const Row& row : rows)
    for (std::size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], row[c].size());
  std::string text;
  for (const Row& row : rows) {
    for (std::size_t c = 0; c + 1 < row.size(); ++c)
      text += fmt::format("{:<{}}  ", row[c], widths[c]);
    text += row.back() + '\n';
  }
  return text;
}

}  // namespace muonlab

#include "optim/routing.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <set>
#include <string_view>

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

std::string default_reason(const ParamInfo& info, bool to_main, bool main_takes_all) {
  if (main_takes_all) return "takes every parameter";
  if (!to_main || info.blocks.empty()) return nature(info.kind);
  std::vector<std::string> roles;
  for (const Block& b : info.blocks) roles.push_back(b.role);
  return fmt::format("packed {}", fmt::join(roles, ", "));
}

/// Whether the whole of `text` matches a pattern with * for any characters and ? for one.
bool matches(std::string_view pattern, std::string_view text) {
  if (pattern.empty()) return text.empty();
  if (pattern[0] == '*')
    return matches(pattern.substr(1), text) || (!text.empty() && matches(pattern, text.substr(1)));
  return !text.empty() && (pattern[0] == '?' || pattern[0] == text[0]) &&
         matches(pattern.substr(1), text.substr(1));
}

bool matches(const RoutePattern& pattern, const ParamInfo& info) {
  return (!pattern.kind || *pattern.kind == info.kind) && matches(pattern.name, info.name);
}

/// The parts of a text between separators, without blanks around them and without empty ones.
std::vector<std::string> parts_of(const std::string& text, char separator) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(separator, begin), text.size());
    const std::size_t first = text.find_first_not_of(' ', begin);
    if (first < end) {
      const std::size_t last = text.find_last_not_of(' ', end - 1);
      parts.push_back(text.substr(first, last - first + 1));
    }
    begin = end + 1;
  }
  return parts;
}

/// "wanted one" in an error about a list of names.
std::string expected(const std::string& word, const std::vector<std::string>& names) {
  const std::string near = nearest_name(word, names);
  return fmt::format("expected one of {}{}", fmt::join(names, ", "),
                     near.empty() ? "" : fmt::format(" (did you mean '{}'?)", near));
}

class RouteParser {
 public:
  RouteParser(const OptimizerConfig& config, const std::string& text)
      : config_(config), text_(text) {}

  RoutePattern parse() {
    const std::size_t colon = text_.find(':');
    if (colon == std::string::npos) fail("has no ':' between the pattern and what is to be done");
    const std::vector<std::string> conditions = parts_of(text_.substr(0, colon), ' '),
                                   actions = parts_of(text_.substr(colon + 1), ' ');
    if (conditions.empty() || actions.empty())
      fail("needs a pattern before the ':' and a rule or a factor behind it");
    pattern_.text = fmt::format("{}", fmt::join(conditions, " "));
    for (const std::string& c : conditions) condition(c);
    for (const std::string& a : actions) action(a);
    return pattern_;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw ConfigError(fmt::format(
        "--route: '{}' {}; expected such as 'kind=embedding: adamw lr*0.5 decay*0'", text_, what));
  }

  void condition(const std::string& word) {
    if (word.rfind("name=", 0) == 0) {
      pattern_.name = word.substr(5);
    } else if (word.rfind("kind=", 0) == 0) {
      const std::string kind = word.substr(5);
      std::vector<std::string> names;
      for (const ParamKind k : kParamKinds) {
        if (kind == name_of(k)) pattern_.kind = k;
        names.emplace_back(name_of(k));
      }
      if (!pattern_.kind)
        fail(fmt::format("names a kind '{}' that there is not: {}", kind, expected(kind, names)));
    } else {
      fail(fmt::format("has '{}' in its pattern, which is neither kind=... nor name=...", word));
    }
  }

  void action(const std::string& word) {
    if (word.rfind("lr*", 0) == 0) {
      pattern_.lr_factor = factor(word, 3);
    } else if (word.rfind("decay*", 0) == 0) {
      pattern_.decay_factor = factor(word, 6);
    } else if (!pattern_.rule.empty()) {
      fail(fmt::format("names two rules, {} and {}", pattern_.rule, word));
    } else {
      const std::vector<std::string> names = config_.rule_names();
      if (std::find(names.begin(), names.end(), word) == names.end())
        fail(fmt::format("names a rule '{}' that there is not: {}", word, expected(word, names)));
      pattern_.rule = word;
    }
  }

  double factor(const std::string& word, std::size_t prefix) const {
    double value = 0;
    OptionBuilder()
        .number(fmt::format("route ('{}')", text_), value, {.min = 0, .max = 1000}, "")
        .table()
        .front()
        .set(word.substr(prefix));
    return value;
  }

  const OptimizerConfig& config_;
  std::string text_;
  RoutePattern pattern_;
};

void require_unique_names(std::span<const Parameter> params) {
  std::set<std::string> names;
  for (const Parameter& p : params)
    if (!names.insert(p.info.name).second)
      throw ConfigError(fmt::format(
          "two parameters are named '{}'; state is saved by name, so each needs its own",
          p.info.name));
}

}  // namespace

std::vector<RoutePattern> parse_routes(const OptimizerConfig& config) {
  std::vector<RoutePattern> patterns;
  for (const std::string& part : parts_of(config.route, ';'))
    patterns.push_back(RouteParser(config, part).parse());
  return patterns;
}

std::vector<Route> route(std::span<const Parameter> params, const OptimizerConfig& config) {
  const Rule &main = config.rule(config.optimizer), &aux = config.rule(config.aux);
  const bool main_takes_all = takes_all(main);
  if (!main_takes_all && !takes_all(aux))
    throw ConfigError(fmt::format(
        "--aux {}: the rule of what {} is not made for must take every kind of parameter; choose "
        "another, such as adamw",
        config.aux, config.optimizer));
  require_unique_names(params);
  const std::vector<RoutePattern> patterns = parse_routes(config);
  std::vector<bool> matched(patterns.size(), false);
  std::vector<Route> routes;
  for (const Parameter& p : params) {
    const ParamInfo& info = p.info;
    const bool to_main = main.takes(info.kind);
    Route r;
    r.param = info.name;
    r.kind = info.kind;
    r.shape = info.shape;
    r.rule = to_main ? config.optimizer : config.aux;
    r.decay_factor = info.shape.rank() >= 2 ? 1 : 0;
    double lr_factor = 1;
    const auto pattern = std::find_if(patterns.begin(), patterns.end(),
                                      [&](const RoutePattern& x) { return matches(x, info); });
    if (pattern == patterns.end()) {
      r.reason = default_reason(info, to_main, main_takes_all);
    } else {
      matched[static_cast<std::size_t>(pattern - patterns.begin())] = true;
      r.reason = "--route " + pattern->text;
      if (!pattern->rule.empty()) r.rule = pattern->rule;
      lr_factor = pattern->lr_factor;
      r.decay_factor = pattern->decay_factor.value_or(r.decay_factor);
    }
    if (info.shape.rank() < 2 && r.decay_factor == 0) r.reason += "; no decay below rank 2";
    if (!info.note.empty()) r.reason += "; " + info.note;
    const Rule& rule = config.rule(r.rule);
    r.seen_as = rule.seen_as(info);
    if (const std::string warning = rule.warning(info); !warning.empty())
      r.reason += "; warning: " + warning;
    r.lr = (r.rule == config.optimizer ? config.lr : config.aux_lr) * lr_factor;
    r.decay = config.weight_decay * r.decay_factor;
    routes.push_back(std::move(r));
  }
  for (std::size_t i = 0; i < patterns.size(); ++i)
    if (!matched[i])
      throw ConfigError(fmt::format(
          "--route: the pattern '{}' matches no parameter that those before it leave; muonlab "
          "routes lists all names and kinds",
          patterns[i].text));
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

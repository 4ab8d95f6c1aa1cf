#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "optim/rule.h"

namespace muonlab {

// One line per rule, sorted: optim/rules/<name>.cpp defines make_<name>().
#define MUONLAB_RULES(RULE) \
  RULE(adabelief)           \
  RULE(adafactor)           \
  RULE(adagrad)             \
  RULE(adam)                \
  RULE(adamuon)             \
  RULE(adamw)               \
  RULE(ademamix)            \
  RULE(adopt)               \
  RULE(coupled_muon)        \
  RULE(dion)                \
  RULE(dion2)               \
  RULE(filtered_adam)       \
  RULE(lion)                \
  RULE(mars)                \
  RULE(muon)                \
  RULE(normuon)             \
  RULE(prodigy)             \
  RULE(rmsprop)             \
  RULE(schedule_free_adamw) \
  RULE(scion)               \
  RULE(sgd)                 \
  RULE(shampoo)             \
  RULE(signum)              \
  RULE(soap)                \
  RULE(sophia_g)

#define DECLARE(name) std::unique_ptr<Rule> make_##name();
MUONLAB_RULES(DECLARE)
#undef DECLARE

namespace {

struct Entry {
  const char* name;
  std::unique_ptr<Rule> (*make)();
};

constexpr Entry kRules[] = {
#define ENTRY(name) {#name, make_##name},
    MUONLAB_RULES(ENTRY)
#undef ENTRY
};

}  // namespace

std::vector<std::string> rule_names() {
  std::vector<std::string> names;
  for (const Entry& e : kRules) names.emplace_back(e.name);
  return names;
}

std::unique_ptr<Rule> make_rule(const std::string& name) {
  for (const Entry& e : kRules)
    if (name == e.name) return e.make();
  const std::vector<std::string> names = rule_names();
  const std::string near = nearest_name(name, names);
  throw ConfigError(fmt::format("there is no optimizer '{}'; expected one of {}{}", name,
                                fmt::join(names, ", "),
                                near.empty() ? "" : fmt::format(" (did you mean '{}'?)", near)));
}

}  // namespace muonlab

#include "core/options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <memory>
#include <numeric>
#include <optional>

#include "core/error.h"

namespace muonlab {
namespace {

[[noreturn]] void reject(const std::string& name, const std::string& value,
                         const std::string& allowed) {
  throw ConfigError(fmt::format("--{}: '{}' is not allowed; expected {}", name, value, allowed));
}

bool contains(const Range& r, double v) {
  return (r.open_min ? v > r.min : v >= r.min) && (r.open_max ? v < r.max : v <= r.max);
}

template <class T>
std::optional<T> parse(const std::string& text) {
  T value{};
  const char* end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || at != end || text.empty()) return std::nullopt;
  return value;
}

std::size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0]++;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replace = diagonal + (a[i] != b[j]);
      diagonal = row[j + 1];
      row[j + 1] = std::min({row[j] + 1, row[j + 1] + 1, replace});
    }
  }
  return row.back();
}

}  // namespace

std::string Range::str() const {
  const bool low = std::isfinite(min), high = std::isfinite(max);
  if (!low && !high) return "a number";
  if (!high) return fmt::format("a number {} {}", open_min ? "above" : "of at least", min);
  if (!low) return fmt::format("a number {} {}", open_max ? "below" : "of at most", max);
  return fmt::format("a number in {}{}, {}{}", open_min ? '(' : '[', min, max,
                     open_max ? ')' : ']');
}

OptionBuilder& OptionBuilder::number(std::string name, double& member, Range range,
                                     std::string doc) {
  Option o{name,        std::move(doc), to_text(member),
           range.str(), false,          [&member] { return to_text(member); },
           {}};
  o.set = [name = std::move(name), &member, range](const std::string& text) {
    const auto value = parse<double>(text);
    if (!value || !std::isfinite(*value) || !contains(range, *value))
      reject(name, text, range.str());
    member = *value;
  };
  o.put = [&member](double value) { member = value; };
  table_.push_back(std::move(o));
  return *this;
}

OptionBuilder& OptionBuilder::integer(std::string name, std::int64_t& member, Range range,
                                      std::string doc) {
  std::string allowed = "a whole number" + range.str().substr(std::string("a number").size());
  Option o{name,    std::move(doc), std::to_string(member),
           allowed, false,          [&member] { return std::to_string(member); },
           {}};
  o.set = [name = std::move(name), &member, range, allowed](const std::string& text) {
    const auto value = parse<std::int64_t>(text);
    if (!value || !contains(range, static_cast<double>(*value))) reject(name, text, allowed);
    member = *value;
  };
  o.put = [&member](double value) { member = std::llround(value); };
  table_.push_back(std::move(o));
  return *this;
}

OptionBuilder& OptionBuilder::integer(std::string name, std::uint64_t& member, std::string doc) {
  const std::string allowed = "a whole number from 0 to 2^64 - 1";
  Option o{name,    std::move(doc), std::to_string(member),
           allowed, false,          [&member] { return std::to_string(member); },
           {}};
  o.set = [name = std::move(name), &member, allowed](const std::string& text) {
    const auto value = parse<std::uint64_t>(text);
    if (!value) reject(name, text, allowed);
    member = *value;
  };
  table_.push_back(std::move(o));
  return *this;
}

OptionBuilder& OptionBuilder::boolean(std::string name, bool& member, std::string doc) {
  Option o{name,
           std::move(doc),
           member ? "true" : "false",
           "true | false",
           true,
           [&member] { return std::string(member ? "true" : "false"); },
           {}};
  o.set = [name = std::move(name), &member](const std::string& text) {
    if (text != "true" && text != "false") reject(name, text, "true or false");
    member = text == "true";
  };
  table_.push_back(std::move(o));
  return *this;
}

OptionBuilder& OptionBuilder::text(std::string name, std::string& member, std::string doc) {
  table_.push_back({std::move(name), std::move(doc), member, "text", false,
                    [&member] { return member; },
                    [&member](const std::string& value) { member = value; }});
  return *this;
}

OptionBuilder& OptionBuilder::choice(std::string name, std::string& member,
                                     std::vector<std::string> choices, std::string doc) {
  auto list = std::make_shared<const std::vector<std::string>>(choices);
  return indexed(
      std::move(name), std::move(choices), std::move(doc),
      [&member, list] {
        return static_cast<std::size_t>(std::find(list->begin(), list->end(), member) -
                                        list->begin());
      },
      [&member, list](std::size_t i) { member = (*list)[i]; });
}

OptionBuilder& OptionBuilder::indexed(std::string name, std::vector<std::string> choices,
                                      std::string doc, std::function<std::size_t()> get,
                                      std::function<void(std::size_t)> set) {
  Option o{name,
           std::move(doc),
           choices.at(get()),
           fmt::format("{}", fmt::join(choices, " | ")),
           false,
           {},
           {}};
  o.get = [choices, get] { return choices.at(get()); };
  o.set = [name = std::move(name), choices, set = std::move(set)](const std::string& text) {
    const auto at = std::find(choices.begin(), choices.end(), text);
    if (at == choices.end()) {
      const std::string near = nearest_name(text, choices);
      reject(name, text,
             fmt::format("one of {}{}", fmt::join(choices, ", "),
                         near.empty() ? "" : fmt::format(" (did you mean '{}'?)", near)));
    }
    set(static_cast<std::size_t>(at - choices.begin()));
  };
  table_.push_back(std::move(o));
  return *this;
}

std::string nearest_name(const std::string& word, const std::vector<std::string>& names) {
  std::string best;
  // Further than about a third of the word is a different word, not a slip.
  std::size_t limit = (word.size() <= 3 ? 1 : std::max<std::size_t>(2, word.size() / 3)) + 1;
  for (const std::string& name : names) {
    const std::size_t d = edit_distance(word, name);
    if (d < limit) {
      limit = d;
      best = name;
    }
  }
  if (!best.empty() || word.size() < 3) return best;
  // "clip" for "grad_clip": no slip, but a whole part of one name alone. Options of single rules,
  // with a dot, are not what is meant without one.
  const auto has_part = [&](const std::string& name) {
    const std::size_t at = name.find(word), end = at + word.size();
    return at != std::string::npos && name.find('.') == std::string::npos &&
           (at == 0 || name[at - 1] == '_') && (end == name.size() || name[end] == '_');
  };
  if (std::count_if(names.begin(), names.end(), has_part) != 1) return "";
  return *std::find_if(names.begin(), names.end(), has_part);
}

std::string to_text(double value) { return fmt::format("{}", value); }

}  // namespace muonlab

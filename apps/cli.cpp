#include "apps/cli.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <utility>

#include "apps/display.h"
#include "apps/files.h"
#include "core/error.h"

namespace muonlab {
namespace {

/// A character, and the letter behind a backslash that stands for it between double quotes.
constexpr std::array<std::pair<char, char>, 5> kEscapes{
    {{'"', '"'}, {'\\', '\\'}, {'\n', 'n'}, {'\r', 'r'}, {'\t', 't'}}};

/// What a flag may be set to in a file, as in CLI11's.
constexpr std::array<std::string_view, 6> kOn{"true", "on", "yes", "enable", "1", "+"},
    kOff{"false", "off", "no", "disable", "0", "-"};

std::string canonical(std::string name) {
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

const Option* find(std::span<const OptionGroup> groups, std::string_view name) {
  for (const OptionGroup& group : groups)
    for (const Option& option : group.options)
      if (option.name == name) return &option;
  return nullptr;
}

/// True if "no_<name>" turns a known boolean off.
bool is_negation(std::span<const OptionGroup> groups, std::string_view name) {
  if (name.substr(0, 3) != "no_") return false;
  const Option* option = find(groups, name.substr(3));
  return option && option->is_flag;
}

/// "n_layer" for "--n-layer", "" for what does not begin with two dashes.
std::string flag_name(const std::string& argument) {
  return argument.rfind("--", 0) == 0 ? canonical(argument.substr(2)) : "";
}

/// True if the argument is an option of these, with or without a value.
bool is_flag_of(std::span<const OptionGroup> groups, const std::string& argument) {
  const std::string name = flag_name(argument.substr(0, argument.find('=')));
  return find(groups, name) || is_negation(groups, name);
}

/// `dashes`: how names are written where this one was found. `command` lists its options by --help.
[[noreturn]] void unknown_option(std::span<const OptionGroup> groups, const std::string& name,
                                 const std::string& shown, std::string_view dashes,
                                 std::string_view command) {
  std::vector<std::string> names, of_rule;
  const std::string rule = name.substr(0, name.find('.') + 1);  // "muon.", or ""
  for (const OptionGroup& group : groups)
    for (const Option& option : group.options) {
      names.push_back(option.name);
      if (!rule.empty() && option.name.rfind(rule, 0) == 0)
        of_rule.push_back(option.name.substr(rule.size()));
    }
  const std::string near = nearest_name(name, names);
  if (!of_rule.empty() && near.rfind(rule, 0) != 0)
    throw ConfigError(fmt::format("there is no option {}; those of {} are {}", shown,
                                  rule.substr(0, rule.size() - 1), fmt::join(of_rule, ", ")));
  throw ConfigError(fmt::format("there is no option {}; {}", shown,
                                near.empty() ? fmt::format("see muonlab {} --help", command)
                                             : fmt::format("did you mean {}{}?", dashes, near)));
}

/// What an option takes, for a person who gave nothing.
const std::string& expected(const Option& option) {
  return option.range == "text" ? option.doc : option.range;
}

/// What a line of a file sets a flag to; a name alone turns it on.
std::string flag_value(const Assignment& a, bool negated) {
  const auto is_one_of = [&](const auto& words) {
    return std::find(words.begin(), words.end(), a.value) != words.end();
  };
  if (a.bare || is_one_of(kOn)) return negated ? "false" : "true";
  if (is_one_of(kOff)) return negated ? "true" : "false";
  return a.value;
}

/// The name of an option in a section. CLI11 turns a flag off by "no_" before the last part of its
/// name, the command line by "no_" before all of it.
std::string full_name(const std::string& prefix, std::string_view name) {
  const std::string full = prefix + canonical(std::string(name));
  const std::size_t last = full.rfind('.') + 1;
  if (full.compare(last, 3, "no_") != 0) return full;
  return fmt::format("no_{}{}", full.substr(0, last), full.substr(last + 3));
}

std::string_view trimmed(std::string_view text) {
  const auto blank = [](char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return text;
}

/// The value that the text behind '=' stands for; nullopt if a quote is not closed or something
/// follows it. Single quotes hold text as it is, double quotes also the escapes that `quoted`
/// makes.
std::optional<std::string> unquoted(std::string_view text) {
  if (text.empty() || (text[0] != '"' && text[0] != '\''))
    return std::string(trimmed(text.substr(0, text.find('#'))));
  std::string value;
  std::size_t i = 1;
  for (; i < text.size() && text[i] != text[0]; ++i) {
    char c = text[i];
    if (c == '\\' && text[0] == '"' && i + 1 < text.size()) {
      const auto escape = std::find_if(kEscapes.begin(), kEscapes.end(),
                                       [&](const auto& e) { return e.second == text[i + 1]; });
      if (escape != kEscapes.end()) {
        c = escape->first;
        ++i;
      }
    }
    value += c;
  }
  if (i == text.size()) return std::nullopt;
  const std::string_view rest = trimmed(text.substr(i + 1));
  if (!rest.empty() && rest[0] != '#') return std::nullopt;
  return value;
}

/// Escapes only where no quotes do without, since CLI11 reads them from version 2.4 on.
std::string quoted(const std::string& value) {
  const auto holds = [&](const char* characters) {
    return value.find_first_of(characters) != std::string::npos;
  };
  if (holds("\"\\") && !holds("'\n\r\t")) return fmt::format("'{}'", value);
  std::string text = "\"";
  for (const char c : value) {
    const auto escape =
        std::find_if(kEscapes.begin(), kEscapes.end(), [&](const auto& e) { return e.first == c; });
    if (escape == kEscapes.end())
      text += c;
    else
      text += {'\\', escape->second};
  }
  return text + '"';
}

/// Numbers and booleans stand without quotes, as in TOML.
bool is_bare(const std::string& value) {
  double number = 0;
  const char* end = value.data() + value.size();
  const auto [at, error] = std::from_chars(value.data(), end, number);
  return value == "true" || value == "false" || (error == std::errc() && at == end);
}

void print_help(const CommandSpec& spec) {
  const int columns = std::clamp(describe_terminal(stdout).width, 40, 100);
  const auto print = [&](std::string_view text) {
    for (const std::string& line : wrapped(text, columns)) fmt::print("{}\n", line);
  };
  const auto print_entry = [&](const std::string& name, std::string_view about) {
    // Beside the names where there is room, below them where there is not.
    const int indent = columns < 60 ? 6 : 26;
    std::string label = "  " + name;
    if (std::ssize(label) >= indent) fmt::print("{}\n", std::exchange(label, ""));
    fmt::print("{}\n", labelled(label, about, indent, columns));
  };
  std::string positional = spec.positional;
  for (char& c : positional) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  print(spec.summary);
  fmt::print("\nUsage: muonlab {}{} [options]\n", spec.name,
             positional.empty() ? "" : fmt::format(" [{}]", positional));
  for (const OptionGroup& group : spec.groups) {
    fmt::print("\n{}\n", group.title);
    for (const Option& o : group.options) {
      const std::string flag = o.name == spec.positional
                                   ? positional
                                   : fmt::format("--{}{}", o.is_flag ? "[no_]" : "", o.name);
      std::string note = o.is_flag || o.range == "text" ? "" : o.range;
      if (!o.fallback.empty())
        note += fmt::format("{}default {}", note.empty() ? "" : "; ", o.fallback);
      print_entry(flag, note.empty() ? o.doc : fmt::format("{} ({})", o.doc, note));
    }
  }
  if (!spec.presets.empty()) fmt::print("\nPresets\n");
  for (const auto& [name, about] : spec.presets) print_entry(name, about);
  fmt::print("\n");
  print("In option names, dashes and underscores are the same.");
}

}  // namespace

std::optional<std::vector<Assignment>> parse_flags(const CommandSpec& spec,
                                                   std::span<const std::string> arguments) {
  CLI::App app;
  app.set_help_flag("");
  app.allow_extras();
  std::vector<Assignment> given;
  bool help = false;
  app.add_flag("-h,--help", help);
  for (const OptionGroup& group : spec.groups) {
    for (const Option& option : group.options) {
      const auto take = [&given, &option](const std::string& value) {
        given.push_back({option.name, value, ""});
      };
      if (option.is_flag) {
        // "--x" gives "true", "--x=false" and "--no_x" give "false".
        CLI::Option* flag = app.add_flag(fmt::format("--{0},!--no_{0}", option.name));
        flag->take_last()->each(take);
      } else {
        const std::string name = option.name == spec.positional ? option.name : "--" + option.name;
        app.add_option(name)->take_last()->type_size(1)->expected(1)->each(take);
      }
    }
  }

  std::vector<std::string> normal;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    const std::size_t end = std::min(argument.find('='), argument.size());
    const std::string name = flag_name(argument.substr(0, end));
    const Option* option = find(spec.groups, name);
    if (name.empty() || (!option && !is_negation(spec.groups, name))) {
      normal.push_back(argument);
      continue;
    }
    normal.push_back("--" + name + argument.substr(end));
    if (!option || option->is_flag) continue;
    if (end + 1 == argument.size()) {  // "--x=" is "--x" and an empty text
      normal.back().pop_back();
      normal.emplace_back();
    } else if (end == argument.size()) {
      const bool last = ++i == arguments.size();
      if (last || is_flag_of(spec.groups, arguments[i]))
        throw ConfigError(fmt::format("--{} needs a value: {}{}", name, expected(*option),
                                      last ? "" : fmt::format(" (found {})", arguments[i])));
      normal.push_back(arguments[i]);
    }
  }
  std::reverse(normal.begin(), normal.end());  // CLI11 takes arguments from the back
  try {
    app.parse(std::move(normal));
  } catch (const CLI::ParseError& error) {
    throw ConfigError(error.what());
  }
  if (help) {
    print_help(spec);
    return std::nullopt;
  }
  for (const std::string& extra : app.remaining()) {
    if (!extra.starts_with('-'))
      throw ConfigError(
          fmt::format("'{}' was not expected here; see muonlab {} --help", extra, spec.name));
    const std::string name = extra.substr(0, extra.find('='));
    unknown_option(spec.groups,
                   canonical(name.substr(std::min(name.find_first_not_of('-'), name.size()))), name,
                   "--", spec.name);
  }
  return given;
}

std::vector<Assignment> parse_config(std::string_view text, const std::string& where) {
  const auto is_control = [](char c) {
    return std::iscntrl(static_cast<unsigned char>(c)) &&
           !std::isspace(static_cast<unsigned char>(c));
  };
  if (std::any_of(text.begin(), text.end(), is_control))
    throw ConfigError(fmt::format("{} is no text, so it is no configuration", where));
  std::vector<Assignment> assignments;
  std::string prefix;
  int number = 0;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = trimmed(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::string at = fmt::format("{}:{}", where, ++number);
    if (line.empty() || line[0] == '#' || line[0] == ';') continue;
    if (line.front() == '[' && line.back() == ']') {
      const std::string section = canonical(std::string(trimmed(line.substr(1, line.size() - 2))));
      prefix = section == "default" ? "" : section + '.';
      continue;
    }
    const std::size_t equals = line.find('=');
    const bool bare = equals == std::string_view::npos;
    std::string_view name = trimmed(line.substr(0, bare ? line.find('#') : equals));
    if (name.size() > 1 && name.front() == name.back() && (name[0] == '"' || name[0] == '\''))
      name = name.substr(1, name.size() - 2);
    if (name.empty())
      throw ConfigError(fmt::format("{}: expected 'name = value', found '{}'", at, line));
    const auto value = bare ? std::string() : unquoted(trimmed(line.substr(equals + 1)));
    if (!value) throw ConfigError(fmt::format("{}: the quotes around the value do not match", at));
    assignments.push_back({full_name(prefix, name), *value, at, bare});
  }
  return assignments;
}

std::vector<Assignment> read_config(const std::filesystem::path& path) {
  return parse_config(read_text(path), path.string());
}

std::string config_text(std::span<const OptionGroup> groups) {
  std::string text;
  for (const OptionGroup& group : groups) {
    text += fmt::format("{}# {}\n", text.empty() ? "" : "\n", group.title);
    for (const Option& option : group.options) {
      const std::string value = option.get();
      text += fmt::format("{} = {}\n", option.name, is_bare(value) ? value : quoted(value));
    }
  }
  return text;
}

namespace {

/// A name for values of several options, which come before those that are given by themselves.
bool is_preset(const Assignment& a) {
  const std::string& name = a.name;
  return name == "preset" || (name.size() > 7 && name.substr(name.size() - 7) == ".preset");
}

std::vector<Assignment> presets_first(std::span<const Assignment> assignments) {
  std::vector<Assignment> ordered(assignments.begin(), assignments.end());
  const auto rest = std::stable_partition(ordered.begin(), ordered.end(), is_preset);
  for (auto a = ordered.begin(); a != rest; ++a)
    for (auto b = ordered.begin(); b != a; ++b)
      if (a->name == b->name && a->value != b->value)
        throw ConfigError(fmt::format("{}{} is given twice, as '{}' and as '{}'; choose one",
                                      a->where.empty() ? "--" : a->where + ": ", a->name, b->value,
                                      a->value));
  return ordered;
}

}  // namespace

void assign(std::span<const OptionGroup> groups, std::span<const Assignment> assignments) {
  for (const Assignment& a : presets_first(assignments)) {
    const bool negated = !find(groups, a.name) && is_negation(groups, a.name);
    const Option* option = find(groups, negated ? a.name.substr(3) : a.name);
    if (!option)  // flags were looked up when they were parsed, and only train reads files
      unknown_option(groups, a.name, fmt::format("'{}' ({})", a.name, a.where), "", "train");
    try {
      if (a.bare && !option->is_flag)
        throw ConfigError(fmt::format("expected '{} = value': {}", a.name, expected(*option)));
      option->set(option->is_flag && !a.where.empty() ? flag_value(a, negated) : a.value);
    } catch (const ConfigError& error) {
      if (a.where.empty()) throw;
      throw ConfigError(fmt::format("{}: {}", a.where, error.what()));
    }
  }
}

std::pair<std::vector<Assignment>, std::vector<Assignment>> split_flags(
    std::span<const Assignment> assignments, const OptionGroup& group) {
  std::pair<std::vector<Assignment>, std::vector<Assignment>> parts;
  for (const Assignment& a : assignments)
    (find({&group, 1}, a.name) ? parts.first : parts.second).push_back(a);
  return parts;
}

const std::string* find_assignment(std::span<const Assignment> assignments, std::string_view name) {
  const std::string* value = nullptr;
  for (const Assignment& a : assignments)
    if (a.name == name) value = &a.value;
  return value;
}

}  // namespace muonlab

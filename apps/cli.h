#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/options.h"

// From text to option tables: command-line flags and configuration files. In option names dashes
// and underscores are the same.
namespace muonlab {

/// One heading of the help text and the options under it.
struct OptionGroup {
  std::string title;
  OptionTable options;
};

/// A value given for an option.
struct Assignment {
  std::string name, value;
  std::string where;  ///< "run.toml:12" for a line of a file, "" for a flag
  bool bare = false;  ///< a line that is a name alone
};

/// What one subcommand takes.
struct CommandSpec {
  std::string name;        ///< "train"
  std::string summary;     ///< one sentence
  std::string positional;  ///< the option that a bare argument sets, or ""
  std::vector<OptionGroup> groups;
  std::vector<std::pair<std::string, std::string>> presets = {};  ///< name, what it is about
};

/// Splits a subcommand's arguments into assignments without applying them; nullopt if help was
/// asked for, which is then on standard output. Throws: ConfigError naming the nearest option.
std::optional<std::vector<Assignment>> parse_flags(const CommandSpec& spec,
                                                   std::span<const std::string> arguments);

/// Reads lines "name = value". The format is that of CLI11's configuration files: '#' begins a
/// comment, as does ';' at the start of a line; "[muon]" puts "muon." before the names that follow;
/// text may stand in quotes; a flag's name alone turns it on. CLI11's own reader is not used, since
/// it cuts text in quotes at '#', splits other text at blanks, and knows no lines. `where` names
/// the source in errors. Throws: ConfigError with the line.
std::vector<Assignment> parse_config(std::string_view text, const std::string& where);
/// The same from a file. Throws: IoError.
std::vector<Assignment> read_config(const std::filesystem::path& path);
/// All options in the format that parse_config reads, one heading a group.
std::string config_text(std::span<const OptionGroup> groups);

/// Sets options in order, later ones win, but presets before the others. Throws: ConfigError for an
/// unknown name (with the nearest one), a value out of range, or two presets of one name.
void assign(std::span<const OptionGroup> groups, std::span<const Assignment> assignments);

/// Those that are options of `group`, and the others.
std::pair<std::vector<Assignment>, std::vector<Assignment>> split_flags(
    std::span<const Assignment> assignments, const OptionGroup& group);

/// The value last given for a name, or null.
const std::string* find_assignment(std::span<const Assignment> assignments, std::string_view name);

}  // namespace muonlab

#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

// Typed option tables. A configuration struct lists its members once; the list drives the command
// line, the configuration file, the printed documentation and the range errors.
namespace muonlab {

/// One option of a live configuration struct, seen as text.
struct Option {
  std::string name;      ///< as in nanoGPT where it has one: "n_layer"
  std::string doc;       ///< one line: meaning and unit
  std::string fallback;  ///< the default
  std::string range;     ///< allowed values in words: "[0, 1)", "a | b | c", "true | false"
  bool is_flag = false;  ///< boolean
  std::function<std::string()> get;
  /// Throws: ConfigError naming option, value and what is allowed.
  std::function<void(const std::string&)> set;
  /// Numbers only: sets a value between two that `set` takes, rounded if it must be whole.
  std::function<void(double)> put{};
};

using OptionTable = std::vector<Option>;

/// Bounds of a number. NaN is never accepted.
struct Range {
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  bool open_min = false, open_max = false;  ///< the bound itself is not allowed
  std::string str() const;
};

/// Builds a table bound to the members of one struct, which must outlive it. The value that a
/// member has now becomes the printed default.
class OptionBuilder {
 public:
  OptionBuilder& number(std::string name, double& member, Range range, std::string doc);
  OptionBuilder& integer(std::string name, std::int64_t& member, Range range, std::string doc);
  OptionBuilder& integer(std::string name, std::uint64_t& member, std::string doc);
  OptionBuilder& boolean(std::string name, bool& member, std::string doc);
  OptionBuilder& text(std::string name, std::string& member, std::string doc);
  /// `member` is one of `choices`. An unknown value names the nearest choice.
  OptionBuilder& choice(std::string name, std::string& member, std::vector<std::string> choices,
                        std::string doc);
  /// An enum whose values are 0, 1, ... in the order of `choices`.
  template <class E>
  OptionBuilder& enumeration(std::string name, E& member, std::vector<std::string> choices,
                             std::string doc) {
    return indexed(
        std::move(name), std::move(choices), std::move(doc),
        [&member] { return static_cast<std::size_t>(member); },
        [&member](std::size_t i) { member = static_cast<E>(i); });
  }
  OptionTable table() { return std::move(table_); }

 private:
  OptionBuilder& indexed(std::string name, std::vector<std::string> choices, std::string doc,
                         std::function<std::size_t()> get, std::function<void(std::size_t)> set);
  OptionTable table_;
};

/// The entry of `names` with the smallest edit distance to `word`; if none is near, the only one
/// without a dot that has `word` between its underscores; or "".
std::string nearest_name(const std::string& word, const std::vector<std::string>& names);

/// Shortest text that reads back as the same double.
std::string to_text(double value);

}  // namespace muonlab

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <map>
#include <sstream>

#include "apps/cli.h"
#include "apps/train_config.h"
#include "core/error.h"
#include "tests/apps/program.h"

// CLI11's own reader of configuration files is the oracle for the one in apps/cli.cpp.
using namespace muonlab;
using namespace muonlab::test;

namespace {

using Values = std::map<std::string, std::string>;

std::string as_text(const Values& values) {
  std::string text;
  for (const auto& [name, value] : values) text += fmt::format("{} = {}\n", name, value);
  return text;
}

/// What a file sets, by CLI11: options with a dot in their name are those of a subcommand, as CLI11
/// has it.
Values by_cli11(const std::string& text) {
  TrainConfig config;
  CLI::App app;
  app.set_config();
  std::map<std::string, CLI::App*> rules;
  std::map<std::string, CLI::Option*> made;
  for (const OptionGroup& group : config.groups()) {
    for (const Option& option : group.options) {
      const std::size_t dot = option.name.find('.');
      CLI::App* owner = &app;
      if (dot != std::string::npos) {
        const std::string name = option.name.substr(0, dot);
        if (!rules.contains(name)) rules[name] = app.add_subcommand(name)->configurable();
        owner = rules[name];
      }
      const std::string name = option.name.substr(dot == std::string::npos ? 0 : dot + 1);
      made[option.name] = option.is_flag ? owner->add_flag(fmt::format("--{0},!--no_{0}", name))
                                         : owner->add_option("--" + name);
      made[option.name]->take_last();
    }
  }
  std::istringstream stream(text);
  app.parse_from_stream(stream);
  Values values;
  for (const auto& [name, option] : made)
    if (option->count() > 0)
      values[name] = option->get_items_expected_max() == 0 ? fmt::format("{}", option->as<bool>())
                                                           : option->as<std::string>();
  return values;
}

/// What a file sets, by the program. Only what differs from the default is seen.
Values by_muonlab(const std::string& text) {
  TrainConfig config;
  const auto groups = config.groups();
  assign(groups, parse_config(text, "file"));
  Values values;
  for (const OptionGroup& group : groups)
    for (const Option& option : group.options)
      if (option.get() != option.fallback) values[option.name] = option.get();
  return values;
}

/// CLI11's view without what is as the default.
Values changed(Values values) {
  TrainConfig config;
  for (const OptionGroup& group : config.groups())
    for (const Option& option : group.options)
      if (const auto found = values.find(option.name);
          found != values.end() && found->second == option.fallback)
        values.erase(found);
  return values;
}

void check_same(const std::string& text) {
  INFO(text);
  const Values expected = changed(by_cli11(text));
  CHECK(!expected.empty());
  CHECK(as_text(by_muonlab(text)) == as_text(expected));
}

}  // namespace

TEST_CASE("files in CLI11's format are read as CLI11 reads them") {
  for (const char* text : {
           "steps = 3\n",
           "steps=3\nlr=0.5",
           "  steps =   3  \n\n\t lr = 0.25\t\n",
           "# a comment\n; another\nsteps = 3 # a third\nbatch = 5# close\n",
           "steps = 3\r\nbatch = 5\r\n",
           "data = \"some text\"\n",
           "data = 'some text'\n",
           "data = \"some, more; text\" # comment\n",
           "data = 'say \"this\"'\n",
           "data = \"it's\"\n",
           "data = path;with;semicolons\n",
           "data = /a/b=c\n",
           "data = 'C:\\new'\n",
           "data = \"back\\slash\"\n",
           "\"steps\" = 3\n'batch' = 5\n",
           "steps = \"3\"\n",
           "steps = 3\nsteps = 4\n",
           "muon.momentum = 0.5\n",
           "[muon]\nmomentum = 0.5\nnesterov = false\n[adamw]\nbeta1 = 0.5\n",
           "steps = 3\n[muon]\nmomentum = 0.5\n[default]\nbatch = 5\n",
           "[muon]\n# nothing\nmomentum = 0.5\n\n[sgd]\nmomentum = 0.25\n",
           "bias\n",
           "bias # yes\n",
           "bias = true\n",
           "bias = on\nsgd.nesterov = yes\nmuon.nesterov = off\n",
           "bias = 1\ntied_head = 0\n",
           "bias = enable\ntied_head = disable\n",
           "no_tied_head\n",
           "no_tied_head = true\n",
           "no_bias = false\n",
           "[sgd]\nnesterov\n[muon]\nno_nesterov\n",
       })
    check_same(text);
}

TEST_CASE("every configuration that is saved is read the same by CLI11") {
  for (const char* data : {"builtin", "my text.txt", "a, b", "it's", "say \"this\"", "back\\slash",
                           "semi;colon", "[brackets]", " blanks around ", "true", "3", "=", ""}) {
    TrainConfig config;
    config.data.data = data;
    config.data.bytes = config.model.bias = true;
    config.model.tied_head = false;
    config.run.seed = 12345678901234567890u;
    config.run.preset = "tiny";
    config.optimizer.lr = 1.25e-7;
    config.optimizer.optimizer = "muon";
    for (const OptionGroup& group : config.groups())
      for (const Option& option : group.options) {
        if (option.name == "muon.nesterov") option.set("false");
        if (option.name == "muon.momentum") option.set("0.85->0.95 over 300");
      }
    const std::string text = config.text();
    INFO(text);
    // All of it, defaults included.
    Values expected;
    for (const OptionGroup& group : config.groups())
      for (const Option& option : group.options) expected[option.name] = option.get();
    CHECK(as_text(by_cli11(text)) == as_text(expected));
    TrainConfig again;
    assign(again.groups(), parse_config(text, "file"));
    CHECK(again.text() == text);
  }
}

TEST_CASE("where this reader is not CLI11's, and why") {
  // What CLI11 2.1 cannot read back is kept whole: '#' in quotes, both kinds of quotes, characters
  // that need an escape.
  for (const char* data : {"a#b", "it's \"this\"", "two\nlines", "tab\there", "'\\", "\"'\\n"}) {
    TrainConfig config, again;
    config.data.data = data;
    assign(again.groups(), parse_config(config.text(), "file"));
    INFO(config.text());
    CHECK(again.data.data == data);
  }
  // Text without quotes is not split at blanks or commas, since no option takes a list.
  CHECK(by_muonlab("data = two words, and more # comment\n") ==
        Values{{"data", "two words, and more"}});
  CHECK(by_cli11("data = two words\n") == Values{{"data", "words"}});
  CHECK(by_cli11("data = \"a#b\"\n") == Values{{"data", "\"a"}});
  CHECK_THROWS_AS(by_muonlab("steps = [3]\n"), ConfigError);
  CHECK(by_cli11("steps = [3]\n") == Values{{"steps", "3"}});
  // Nothing is passed over in silence: the last value counts wherever it stands, a name alone is
  // an error unless it is a flag's, and so is a name that no option has.
  CHECK(by_muonlab("steps = 3\nbatch = 5\nsteps = 4\n").at("steps") == "4");
  CHECK(by_cli11("steps = 3\nbatch = 5\nsteps = 4\n").at("steps") == "3");
  CHECK_THROWS_AS(by_muonlab("lr\n"), ConfigError);
  CHECK(by_cli11("lr\n").empty());
  CHECK_THROWS_AS(by_muonlab("data\n"), ConfigError);
  CHECK(by_cli11("data\n") == Values{{"data", "true"}});
  CHECK_THROWS_AS(by_muonlab("[[muon]]\nmomentum = 0.5\n"), ConfigError);
  CHECK_THROWS_AS(by_muonlab("stops = 3\n"), ConfigError);
}

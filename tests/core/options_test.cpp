#include "core/options.h"

#include <cstdlib>
#include <limits>

#include "core/error.h"
#include "tests/support/catch.h"

using namespace muonlab;

namespace {

enum class Color { red, green };

struct Config {
  double rate = 0.1;
  std::int64_t layers = 4;
  std::uint64_t seed = 1337;
  bool tied = true;
  std::string data = "builtin";
  std::string preset = "tiny";
  Color color = Color::green;
};

OptionTable options(Config& c) {
  return OptionBuilder()
      .number("rate", c.rate, {.min = 0, .max = 1, .open_max = true}, "share of something")
      .integer("layers", c.layers, {.min = 1, .max = 1000}, "number of layers")
      .integer("seed", c.seed, "seed")
      .boolean("tied", c.tied, "share the embedding")
      .text("data", c.data, "a path")
      .choice("preset", c.preset, {"tiny", "small", "large"}, "sizes")
      .enumeration("color", c.color, {"red", "green"}, "a color")
      .table();
}

const Option& find(const OptionTable& table, const std::string& name) {
  for (const Option& o : table)
    if (o.name == name) return o;
  throw Error("the test asks for an option that is not in its table");
}

std::string complaint(const Option& o, const std::string& value) {
  try {
    o.set(value);
  } catch (const ConfigError& e) {
    return e.what();
  }
  return "";
}

}  // namespace

TEST_CASE("options: every kind is read and written as text") {
  Config c;
  const OptionTable table = options(c);
  find(table, "rate").set("0.25");
  find(table, "layers").set("12");
  find(table, "seed").set("18446744073709551615");
  find(table, "tied").set("false");
  find(table, "data").set("a b.txt");
  find(table, "preset").set("large");
  find(table, "color").set("red");
  CHECK(c.rate == 0.25);
  CHECK(c.layers == 12);
  CHECK(c.seed == UINT64_MAX);
  CHECK_FALSE(c.tied);
  CHECK(c.data == "a b.txt");
  CHECK(c.preset == "large");
  CHECK(c.color == Color::red);
  // What is printed sets the same value again, and the default stays what it was.
  const Config before = c;
  for (const Option& o : table) o.set(o.get());
  CHECK(c.rate == before.rate);
  CHECK(c.seed == before.seed);
  CHECK(c.preset == before.preset);
  CHECK(find(table, "rate").fallback == "0.1");
  CHECK(find(table, "seed").fallback == "1337");
  CHECK(find(table, "tied").fallback == "true");
  CHECK(find(table, "color").fallback == "green");
  CHECK(find(table, "tied").is_flag);
  CHECK_FALSE(find(table, "rate").is_flag);
}

TEST_CASE("options: what is not allowed is refused and changes nothing") {
  Config c;
  const OptionTable table = options(c);
  for (const char* bad : {"", " ", "x", "0.5x", " 0.5", "0.5 ", "nan", "inf", "-inf", "1e999", "1",
                          "-0.001", "0,5", "0x1p-1", "--", "1e-2 #"}) {
    INFO("rate '" << bad << "'");
    CHECK_THROWS_AS(find(table, "rate").set(bad), ConfigError);
  }
  for (const char* bad :
       {"", "x", "1.5", "0", "-3", "1001", "1e2", "99999999999999999999", "12 "}) {
    INFO("layers '" << bad << "'");
    CHECK_THROWS_AS(find(table, "layers").set(bad), ConfigError);
  }
  for (const char* bad : {"", "-1", "18446744073709551616", "1.0"}) {
    INFO("seed '" << bad << "'");
    CHECK_THROWS_AS(find(table, "seed").set(bad), ConfigError);
  }
  for (const char* bad : {"", "yes", "True", "1"}) {
    INFO("tied '" << bad << "'");
    CHECK_THROWS_AS(find(table, "tied").set(bad), ConfigError);
  }
  CHECK_THROWS_AS(find(table, "preset").set("Large"), ConfigError);
  CHECK_THROWS_AS(find(table, "color").set(""), ConfigError);
  CHECK(c.rate == 0.1);
  CHECK(c.layers == 4);
  CHECK(c.seed == 1337);
  CHECK(c.tied);
  CHECK(c.preset == "tiny");
  CHECK(c.color == Color::green);
}

TEST_CASE("options: the message names the option, the value and what is allowed") {
  Config c;
  const OptionTable table = options(c);
  CHECK(complaint(find(table, "rate"), "2") ==
        "--rate: '2' is not allowed; expected a number in [0, 1)");
  CHECK(complaint(find(table, "layers"), "0") ==
        "--layers: '0' is not allowed; expected a whole number in [1, 1000]");
  CHECK(complaint(find(table, "preset"), "smal") ==
        "--preset: 'smal' is not allowed; expected one of tiny, small, large (did you mean "
        "'small'?)");
  CHECK(complaint(find(table, "preset"), "zzzz") ==
        "--preset: 'zzzz' is not allowed; expected one of tiny, small, large");
}

TEST_CASE("options: ranges in words") {
  CHECK(Range{}.str() == "a number");
  CHECK(Range{.min = 1}.str() == "a number of at least 1");
  CHECK(Range{.min = 0, .open_min = true}.str() == "a number above 0");
  CHECK(Range{.max = 3}.str() == "a number of at most 3");
  CHECK(Range{.max = 3, .open_max = true}.str() == "a number below 3");
  CHECK(Range{.min = 0, .max = 1, .open_min = true}.str() == "a number in (0, 1]");
}

TEST_CASE("options: the nearest name") {
  const std::vector<std::string> names{"n_layer", "n_head", "n_embd", "lr", "weight_decay"};
  CHECK(nearest_name("n_layers", names) == "n_layer");
  CHECK(nearest_name("nlayer", names) == "n_layer");
  CHECK(nearest_name("n_heads", names) == "n_head");
  CHECK(nearest_name("weigth_decay", names) == "weight_decay");
  CHECK(nearest_name("lrr", names) == "lr");
  CHECK(nearest_name("momentum", names).empty());
  CHECK(nearest_name("x", names).empty());
  CHECK(nearest_name("", names).empty());
  CHECK(nearest_name("lr", {}).empty());
  // A part of a name, if no other name has it.
  const std::vector<std::string> parts{"grad_clip", "weight_decay", "adopt.clip",   "sgd.momentum",
                                       "unclipped", "eval_batches", "eval_interval"};
  CHECK(nearest_name("clip", parts) == "grad_clip");
  CHECK(nearest_name("decay", parts) == "weight_decay");
  CHECK(nearest_name("momentum", parts).empty());
  CHECK(nearest_name("cli", parts).empty());
  CHECK(nearest_name("eval", parts).empty());
}

TEST_CASE("options: numbers as text read back as the same number") {
  for (double x : {0.1, 1e-3, 3e-4, 1., 0., -2.5, 1. / 3, 6.02214076e23,
                   std::numeric_limits<double>::denorm_min(), std::numeric_limits<double>::max()})
    CHECK(std::strtod(to_text(x).c_str(), nullptr) == x);
  CHECK(to_text(0.1) == "0.1");
  CHECK(to_text(3e-4) == "0.0003");
}

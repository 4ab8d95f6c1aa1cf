// The same update by another convention: rate_a s_a(rows, cols) = rate_b s_b(rows, cols), where s
// is the length that a convention gives to an orthogonal matrix (optim/steps/shape_scale.h). Its
// elements have root mean square 1 / sqrt(max(rows, cols)), so the update's is
// rate s / sqrt(max(rows, cols)).
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>
#include <vector>

#include "apps/cli.h"
#include "apps/commands.h"
#include "apps/json.h"
#include "apps/presets.h"
#include "apps/train_config.h"
#include "apps/trainer.h"
#include "core/error.h"
#include "core/math.h"
#include "nn/gpt.h"
#include "optim/steps/matrix_view.h"
#include "optim/steps/shape_scale.h"

namespace muonlab {
namespace {

struct Convention {
  const char* name;
  ShapeScale scale;
  const char* length;
};

/// Adam's is that of rms: far from the start its updates have about root mean square kappa.
const std::vector<Convention> kConventions{
    {"spectral", ShapeScale::spectral, "sqrt(max(1, rows/cols))"},
    {"spectral_full", ShapeScale::spectral_full, "sqrt(rows/cols)"},
    {"rms", ShapeScale::rms, "kappa sqrt(max(rows, cols))"},
    {"sqrtmax", ShapeScale::sqrtmax, "sqrt(max(rows, cols))"},
    {"none", ShapeScale::none, "1"},
    {"adam", ShapeScale::rms, "as rms"}};

struct LrConfig {
  double lr = 0.02;
  std::string from = "spectral", shape, preset;
  double kappa = 0.2;
  std::int64_t batches = 1;
  bool json = false;

  const Convention& convention() const {
    return *std::find_if(kConventions.begin(), kConventions.end(),
                         [&](const Convention& c) { return c.name == from; });
  }
  double length(const Convention& c, const Shape& matrix) const {
    return shape_scale(c.scale, matrix, kappa);
  }
  double rate(const Convention& to, const Shape& matrix) const {
    return lr * length(convention(), matrix) / length(to, matrix);
  }
  double update_rms(const Shape& matrix) const {
    return lr * length(convention(), matrix) /
           std::sqrt(static_cast<double>(std::max(matrix[0], matrix[1])));
  }
};

OptionTable options(LrConfig& c) {
  std::vector<std::string> names;
  for (const Convention& convention : kConventions) names.emplace_back(convention.name);
  return OptionBuilder()
      .number("lr", c.lr, {.min = 0, .max = 1000, .open_min = true}, "the rate to translate")
      .choice("from", c.from, names, "the convention that it is meant in")
      .text("shape", c.shape, "rows x cols of one matrix, such as 384x128")
      .text("preset", c.preset,
            "all matrices of a model instead, with a check on gradients of random tokens")
      .number("kappa", c.kappa, {.min = 0, .max = 10, .open_min = true},
              "root mean square of an update by rms, and about that of Adam, at rate 1")
      .integer("batches", c.batches, {1, 1000},
               "with --preset: updates to make; the last one is measured")
      .boolean("json", c.json, "the result as one JSON object")
      .table();
}

Shape parse_shape(const std::string& text) {
  std::int64_t sizes[2] = {};
  const std::size_t x = text.find('x');
  OptionTable table = OptionBuilder()
                          .integer("shape (rows)", sizes[0], {1, 1e9}, "")
                          .integer("shape (cols)", sizes[1], {1, 1e9}, "")
                          .table();
  if (x == std::string::npos)
    throw ConfigError(
        fmt::format("--shape: '{}' is not allowed; expected rows x cols, such as 384x128", text));
  table[0].set(text.substr(0, x));
  table[1].set(text.substr(x + 1));
  return {sizes[0], sizes[1]};
}

/// Matrices of one shape in a model.
struct Group {
  std::string first;  ///< parameter
  Shape shape;
  std::int64_t count = 0;
  double measured = 0;  ///< root mean square of an element of the last update
};

/// Trains the preset on random tokens at the given rate, without decay and warm-up, and measures
/// the last update of every matrix.
std::vector<Group> measure(const LrConfig& c) {
  const bool adam = c.from == "adam";
  std::vector<Assignment> flags{
      {"preset", c.preset, ""},  {"optimizer", adam ? "adamw" : "muon", ""},
      {"lr", to_text(c.lr), ""}, {"weight_decay", "0", ""},
      {"warmup", "0", ""},       {"schedule", "constant", ""}};
  if (!adam) {
    flags.push_back({"muon.scale", c.from, ""});
    flags.push_back({"muon.kappa", to_text(c.kappa), ""});
  }
  TrainConfig config;
  config.layer({}, flags);
  config.resolve();
  config.model.vocab_size = find_preset(c.preset).vocab_size;
  const Gpt model(config.model, config.run.seed);
  Optimizer optimizer(model.parameters(), std::move(config.optimizer));
  Trainer trainer(model, optimizer, random_batches(model.config, config.run), 1, config.run.seed);
  const auto muon = make_rule("muon");
  std::vector<Parameter> params = model.parameters();
  std::erase_if(params, [&](const Parameter& p) { return !muon->takes(p.info.kind); });
  std::vector<Tensor> before;
  for (std::int64_t i = 0; i < c.batches; ++i) {
    if (i + 1 == c.batches)
      for (const Parameter& p : params) before.push_back(p.value().clone());
    trainer.step(i);
  }
  std::map<std::pair<std::int64_t, std::int64_t>, Group> groups;
  for (std::size_t k = 0; k < params.size(); ++k) {
    Tensor& moved = before[k];
    math::axpby(moved, 1, params[k].value(), -1);
    for (const Tensor& matrix : MatrixView(params[k].info).split(moved)) {
      const Shape& shape = matrix.shape();
      Group& group = groups[{shape[0], shape[1]}];
      if (group.count++ == 0) {
        group.first = params[k].info.name;
        group.shape = shape;
      }
      group.measured += math::sum_squares(matrix) / static_cast<double>(shape.numel());
    }
  }
  std::vector<Group> list;
  for (auto& [sizes, group] : groups) {
    group.measured = std::sqrt(group.measured / static_cast<double>(group.count));
    list.push_back(std::move(group));
  }
  return list;
}

JsonObject rates_json(const LrConfig& c, const Shape& shape) {
  JsonObject rates;
  for (const Convention& to : kConventions) rates.add(to.name, c.rate(to, shape));
  return rates;
}

void print_shape(const LrConfig& c, const Shape& shape) {
  fmt::print("a matrix of {}: rate {} by {} moves an element by {:.4g} (root mean square)\n\n",
             shape.str(), c.lr, c.from, c.update_rms(shape));
  fmt::print("{:<15}{:<30}{}\n", "convention", "length of an update", "the same by rate");
  for (const Convention& to : kConventions)
    fmt::print("{:<15}{:<30}{:.6g}\n", to.name, to.length, c.rate(to, shape));
  fmt::print(
      "\nThe same update: rate x length is equal. For spectral and rms this is rate_spectral = "
      "kappa sqrt(cols) rate_rms, here {:.6g} rate_rms.\n",
      c.kappa * std::sqrt(static_cast<double>(shape[1])));
}

void print_model(const LrConfig& c, std::span<const Group> groups) {
  fmt::print("{}: rate {} by {}\n\n{:<16}{:>6}", c.preset, c.lr, c.from, "matrices", "");
  for (const Convention& to : kConventions) fmt::print("{:>15}", to.name);
  fmt::print("{:>15}{:>15}{:>8}\n", "update rms", "measured", "ratio");
  for (const Group& g : groups) {
    fmt::print("{:<16}{:>6}", g.shape.str(), fmt::format("x {}", g.count));
    for (const Convention& to : kConventions) fmt::print("{:>15.6g}", c.rate(to, g.shape));
    fmt::print("{:>15.4g}{:>15.4g}{:>8.3f}\n", c.update_rms(g.shape), g.measured,
               g.measured / c.update_rms(g.shape));
  }
  fmt::print(
      "\nRates in one row give the same update: rate x length is equal, so that rate_spectral = "
      "kappa sqrt(cols) rate_rms. The update was measured on gradients of random tokens, at update "
      "{}; five steps of Newton-Schulz make a matrix of full rank .87 to .98 times as long as an "
      "orthogonal one, and of lower rank shorter{}.\n",
      c.batches, c.from == "adam" ? "; Adam's first update has root mean square 1 x rate" : "");
}

}  // namespace

int lr_command(std::span<const std::string> arguments) {
  LrConfig config;
  const CommandSpec spec{"lr",
                         "Translates a learning rate between the conventions for the length of an "
                         "orthogonalised update, and Adam's, for one matrix or a whole model.",
                         "",
                         {{"Options", options(config)}}};
  const auto flags = parse_flags(spec, arguments);
  if (!flags) return 0;
  assign(spec.groups, *flags);
  if (config.shape.empty() == config.preset.empty())
    throw ConfigError("for which matrices? Give either --shape 384x128 or --preset NAME");
  JsonObject object;
  object.add("lr", config.lr).add("from", config.from);
  if (!config.shape.empty()) {
    const Shape shape = parse_shape(config.shape);
    object.add("rates", rates_json(config, shape)).add("update_rms", config.update_rms(shape));
    if (!config.json) print_shape(config, shape);
  } else {
    const std::vector<Group> groups = measure(config);
    std::vector<JsonObject> rows;
    for (const Group& g : groups) {
      JsonObject row;
      row.add("shape", g.shape.str())
          .add("count", g.count)
          .add("first", g.first)
          .add("rates", rates_json(config, g.shape))
          .add("update_rms", config.update_rms(g.shape))
          .add("measured_rms", g.measured);
      rows.push_back(row);
    }
    object.add("matrices", rows);
    if (!config.json) print_model(config, groups);
  }
  if (config.json) fmt::print("{}\n", object.str());
  return 0;
}

}  // namespace muonlab

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "apps/cli.h"
#include "apps/commands.h"
#include "apps/display.h"
#include "apps/json.h"
#include "apps/machine.h"
#include "apps/memory.h"
#include "apps/route_table.h"
#include "apps/run_folder.h"
#include "apps/run_state.h"
#include "core/cpu/gemm.h"
#include "core/device.h"
#include "core/options.h"
#include "optim/routing.h"

namespace muonlab {
namespace {

struct InfoConfig {
  std::string run;
  bool json = false;
};

OptionTable options(InfoConfig& c) {
  return OptionBuilder()
      .text("run", c.run,
            "run folder, or a checkpoint in it; without one, this machine is described")
      .boolean("json", c.json, "the result as one JSON object")
      .table();
}

/// Bytes of the tensors in a checkpoint: of the weights, and of the optimizer's state by its name.
struct Sizes {
  std::int64_t weights = 0;
  std::map<std::string, std::int64_t> state;
};

Sizes sizes_of(std::span<const TensorFile::Entry> tensors) {
  Sizes sizes;
  for (const TensorFile::Entry& entry : tensors) {
    const auto bytes = entry.shape.numel() * static_cast<std::int64_t>(size_of(entry.dtype));
    if (entry.name.rfind("opt/", 0) == 0)
      sizes.state[entry.name.substr(entry.name.rfind('/') + 1)] += bytes;
    else
      sizes.weights += bytes;
  }
  return sizes;
}

JsonObject machine_json() {
  const Machine machine = describe_machine();
  std::vector<std::string> devices_named;
  for (const DeviceInfo& info : devices()) devices_named.push_back(info.device.str());
  JsonObject object;
  object.add("cpu", machine.cpu)
      .add("cores", machine.cores)
      .add("memory_bytes", std::llround(memory_limit().bytes))
      .add("instruction_sets", machine.instruction_sets)
      .add("gemm_provider", cpu::gemm_provider())
      .add("devices", devices_named)
      .add("compiler", compiler_name());
  return object;
}

void print_machine() {
  const Machine machine = describe_machine();
  fmt::print("muonlab {}, built by {}\n", MUONLAB_VERSION, compiler_name());
  fmt::print("cpu               {}, {} cores\n", machine.cpu, machine.cores);
  fmt::print("memory            {}\n", size_text(memory_limit().bytes));
  fmt::print("instruction sets  {}\n", fmt::join(machine.instruction_sets, " "));
  fmt::print("products          {}\n", cpu::gemm_provider());
  std::string_view label = "devices";
  for (const DeviceInfo& info : devices())
    fmt::print("{:<18}{}: {}\n", std::exchange(label, ""), info.device.str(), info.description);
}

struct RunReport {
  std::unique_ptr<LoadedRun> run;
  Sizes sizes;
  std::string weights_sha256;
  std::vector<Route> routes;
  std::vector<MetricsRow> history;
};

RunReport describe_run(const std::string& where) {
  RunReport report;
  report.run = load_run(where);
  const LoadedRun& run = *report.run;
  report.sizes = sizes_of(run.tensors);
  report.weights_sha256 = weights_sha256(named_parameters(*run.model));
  report.routes = route(run.model->parameters(), run.config.optimizer);
  std::error_code error;
  if (std::filesystem::exists(run.path.folder / kMetricsCsv, error))
    report.history = read_metrics(run.path.folder);
  return report;
}

std::string json_text(const RunReport& report) {
  JsonObject options;
  for (const OptionGroup& group : report.run->config.groups())
    for (const Option& option : group.options) options.add(option.name, option.get());
  std::vector<JsonObject> routes;
  for (const Route& r : report.routes) routes.push_back(to_json(r));
  JsonObject state;
  for (const auto& [name, bytes] : report.sizes.state) state.add(name, bytes);
  std::vector<JsonObject> history;
  for (const MetricsRow& row : report.history) {
    JsonObject object;
    object.add("step", row.step).add("loss", row.loss).add("val_loss", row.val_loss);
    history.push_back(object);
  }
  const RunState& s = report.run->state;
  JsonObject object;
  object.add("run", report.run->path.folder.string())
      .add("checkpoint", report.run->path.checkpoint.string())
      .add("step", s.step)
      .add("val_loss", s.val_loss)
      .add("val_split", s.val_is_whole ? "whole" : "subset")
      .add("best_val_loss", s.best_val_loss)
      .add("val_floor", s.val_floor)
      .add("source_entropy", s.source_entropy)
      .add("above_floor", s.above_floor())
      .add("elapsed_s", s.elapsed_s)
      .add("weights_sha256", report.weights_sha256)
      .add("corpus_sha256", s.corpus_sha256)
      .add("vocab_size", s.vocab_size)
      .add("parameters", report.run->model->parameter_count())
      .add("weights_bytes", report.sizes.weights)
      .add("state_bytes", state)
      .add("config", options)
      .add("routes", routes)
      .add("history", history)
      .add("machine", machine_json());
  return object.str();
}

std::string summary_of(const RunState& s) {
  std::string text = fmt::format("loss {:.4f} nats per token on {}", *s.val_loss,
                                 s.val_is_whole ? "the whole split" : "the fixed subset");
  if (const auto above = s.above_floor()) text += fmt::format(", {:.4f} above the floor", *above);
  if (s.best_val_loss) text += fmt::format("; best on the subset {:.4f}", *s.best_val_loss);
  return text;
}

void print_run(const RunReport& report) {
  const RunState& s = report.run->state;
  const GptConfig& m = report.run->config.model;
  const Terminal terminal = describe_terminal(stdout);
  const auto say = [&](std::string_view label, std::string_view text) {
    constexpr int kMargin = 12;
    fmt::print("{}\n", labelled(label, text, kMargin, terminal.text_width()));
  };
  say("checkpoint", report.run->path.checkpoint.string());
  say("step", fmt::format("{} of {}, after {} of training", s.step, report.run->config.run.steps,
                          duration_text(s.elapsed_s)));
  if (s.val_loss) say("validation", summary_of(s));
  if (s.val_floor)
    say("floor", fmt::format("{:.4f} nats per token for the text to validate on", *s.val_floor));
  if (s.source_entropy)
    say("", fmt::format("{:.4f} over all texts of its grammar: the entropy", *s.source_entropy));
  say("model",
      fmt::format("{} parameters: {} layers, {} heads, width {}, window {}, {} different tokens",
                  with_thousands(report.run->model->parameter_count()), m.n_layer, m.n_head,
                  m.n_embd, m.block_size, s.vocab_size));
  std::string sizes =
      fmt::format("weights {}", size_text(static_cast<double>(report.sizes.weights)));
  for (const auto& [name, bytes] : report.sizes.state)
    sizes += fmt::format(", {} {}", name, size_text(static_cast<double>(bytes)));
  say("sizes", sizes);
  say("sha256", report.weights_sha256);
  fmt::print("\n{}\n", fitted(report.routes, terminal.text_width()));

  std::vector<CurvePoint> points;
  for (const MetricsRow& row : report.history)
    if (row.loss) points.push_back({static_cast<double>(row.step), *row.loss});
  if (points.size() >= 3)
    fmt::print("training loss\n{}\n",
               draw_curve(points, std::min(terminal.width - 1, 72), 6, terminal.utf8));
}

}  // namespace

int info_command(std::span<const std::string> arguments) {
  InfoConfig config;
  const CommandSpec spec{
      "info",
      "Describes a run or checkpoint (weights_sha256 is taken over the parameters in the order "
      "of their names: of each the name, a zero byte, and the raw values), or this machine.",
      "run",
      {{"Options", options(config)}}};
  const auto flags = parse_flags(spec, arguments);
  if (!flags) return 0;
  assign(spec.groups, *flags);
  if (config.run.empty()) {
    if (config.json)
      fmt::print("{}\n", machine_json().str());
    else
      print_machine();
    return 0;
  }
  const RunReport report = describe_run(config.run);
  if (config.json)
    fmt::print("{}\n", json_text(report));
  else
    print_run(report);
  return 0;
}

}  // namespace muonlab

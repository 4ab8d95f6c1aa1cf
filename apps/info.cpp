#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>
#include <memory>
#include <string_view>
#include <utility>

#include "apps/cli.h"
#include "apps/commands.h"
#include "apps/display.h"
#include "apps/json.h"
#include "apps/machine.h"
#include "apps/run_folder.h"
#include "apps/run_state.h"
#include "core/cpu/gemm.h"
#include "core/device.h"
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

Sizes sizes_of(const TensorFile& file) {
  Sizes sizes;
  for (const TensorFile::Entry& entry : file.entries()) {
    const auto bytes = entry.shape.numel() * static_cast<std::int64_t>(size_of(entry.dtype));
    if (entry.name.rfind("opt/", 0) == 0)
      sizes.state[entry.name.substr(entry.name.rfind('/') + 1)] += bytes;
    else
      sizes.weights += bytes;
  }
  return sizes;
}

std::string size_text(std::int64_t bytes) {
  if (bytes < 10 * 1024 * 1024) return fmt::format("{:.1f} KiB", static_cast<double>(bytes) / 1024);
  return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1024 * 1024));
}

JsonObject machine_json() {
  const Machine machine = describe_machine();
  std::vector<std::string> devices_named;
  for (const DeviceInfo& info : devices()) devices_named.push_back(info.device.str());
  JsonObject object;
  object.add("cpu", machine.cpu)
      .add("cores", machine.cores)
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
  report.sizes = sizes_of(TensorFile(run.path.checkpoint));
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
  for (const Route& r : report.routes) {
    JsonObject object;
    object.add("parameter", r.param)
        .add("kind", name_of(r.kind))
        .add("shape", r.shape.str())
        .add("rule", r.rule)
        .add("seen_as", r.seen_as)
        .add("lr", r.lr)
        .add("decay", r.decay)
        .add("reason", r.reason);
    routes.push_back(object);
  }
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

void print_run(const RunReport& report) {
  const RunState& s = report.run->state;
  const GptConfig& m = report.run->config.model;
  fmt::print("checkpoint  {}\n", report.run->path.checkpoint.string());
  fmt::print("step        {} of {}, after {} of training\n", s.step, report.run->config.run.steps,
             duration_text(s.elapsed_s));
  if (s.val_loss)
    fmt::print("validation  loss {:.4f} nats per token on {}{}\n", *s.val_loss,
               s.val_is_whole ? "the whole split" : "the fixed subset",
               s.best_val_loss ? fmt::format("; best on the subset {:.4f}", *s.best_val_loss) : "");
  fmt::print(
      "model       {} parameters: {} layers, {} heads, width {}, window {}, {} different tokens\n",
      with_thousands(report.run->model->parameter_count()), m.n_layer, m.n_head, m.n_embd,
      m.block_size, s.vocab_size);
  std::string sizes = fmt::format("weights {}", size_text(report.sizes.weights));
  for (const auto& [name, bytes] : report.sizes.state)
    sizes += fmt::format(", {} {}", name, size_text(bytes));
  fmt::print("sizes       {}\n", sizes);
  fmt::print("weights     sha256 {}\n\n{}\n", report.weights_sha256, to_string(report.routes));

  std::vector<CurvePoint> points;
  for (const MetricsRow& row : report.history)
    if (row.loss) points.push_back({static_cast<double>(row.step), *row.loss});
  const Terminal terminal = describe_terminal(stdout);
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

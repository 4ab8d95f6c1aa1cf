#include <fmt/format.h>

#include <cmath>

#include "apps/cli.h"
#include "apps/commands.h"
#include "apps/display.h"
#include "apps/json.h"
#include "apps/loss_report.h"
#include "apps/memory.h"
#include "apps/run_state.h"
#include "apps/trainer.h"
#include "core/cpu/parallel.h"
#include "core/error.h"

namespace muonlab {
namespace {

struct EvalConfig {
  std::string run;
  std::string split = "val";
  std::int64_t threads = 0;
  std::string device = "auto";
  bool json = false;
};

OptionTable options(EvalConfig& c) {
  return OptionBuilder()
      .text("run", c.run, "run folder, or a checkpoint in it")
      .choice("split", c.split, {"val", "train"}, "which part of the data")
      .integer("threads", c.threads, {0, 1024}, "threads; 0: the cores of the machine")
      .choice("device", c.device, {"cpu", "cuda", "auto"},
              "where to compute; auto: on a GPU where there is one")
      .boolean("json", c.json, "the result as one JSON object")
      .table();
}

}  // namespace

int eval_command(std::span<const std::string> arguments) {
  EvalConfig config;
  const CommandSpec spec{
      "eval",
      "Loss of a trained model on a whole split: the mean over non-overlapping windows in "
      "file order; tokens behind the last whole window are left out.",
      "run",
      {{"Options", options(config)}}};
  const auto flags = parse_flags(spec, arguments);
  if (!flags) return 0;
  assign(spec.groups, *flags);
  if (config.run.empty()) throw ConfigError("which run? Give a run folder: muonlab eval RUN");
  if (config.threads > 0) cpu::set_threads(static_cast<int>(config.threads));

  const auto run = load_run(config.run, parse_device(config.device));
  require_finite_weights(*run->model, run->path.checkpoint.string());
  const Corpus corpus = open_corpus(run->config.data);
  if (corpus.sha256 != run->state.corpus_sha256)
    throw FormatError(fmt::format(
        "{} is not what it was when the run was trained, so a loss on it would say nothing",
        corpus.name));
  if (run->model->device() == Device{})
    require_evaluation_memory(run->config.model, run->config.run.batch);
  const bool validation = config.split == "val";
  const std::int64_t block = run->config.model.block_size;
  const Evaluator evaluator(validation ? corpus.val : corpus.train, block, run->config.run.batch,
                            0);
  const double loss = evaluator.evaluate(*run->model);
  if (!std::isfinite(loss))
    throw DivergedError(fmt::format(
        "{}: the loss is not finite, although all weights are; some must be far too large",
        run->path.checkpoint.string()));
  const LossReport report = report_loss(loss, corpus, validation, block);

  if (config.json) {
    JsonObject object;
    object.add("run", run->path.folder.string())
        .add("checkpoint", run->path.checkpoint.string())
        .add("step", run->state.step)
        .add("split", config.split)
        .add(config.split + "_loss", report.loss);
    report.add_to(object);
    fmt::print("{}\n", object.str());
    return 0;
  }
  const int width = describe_terminal(stdout).text_width();
  for (const std::string& text :
       {fmt::format("step {}, {} split: {}", run->state.step,
                    validation ? "validation" : "training", report.text()),
        fmt::format("over {} tokens in windows of {}; {} behind the last whole window left out",
                    report.tokens, block, report.left_out)})
    fmt::print("{}\n", labelled("", text, 0, width));
  return 0;
}

}  // namespace muonlab

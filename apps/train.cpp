#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <signal.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <filesystem>
#include <map>
#include <optional>
#include <utility>

#include "apps/cli.h"
#include "apps/commands.h"
#include "apps/interrupt.h"
#include "apps/json.h"
#include "apps/loss_report.h"
#include "apps/machine.h"
#include "apps/memory.h"
#include "apps/presets.h"
#include "apps/training_loop.h"
#include "core/cpu/gemm.h"
#include "core/cpu/parallel.h"
#include "core/device.h"
#include "data/batch.h"

namespace muonlab {
namespace {

namespace fs = std::filesystem;

/// What one call is asked to do, beside how the run goes: not saved with the run.
struct Call {
  std::string out, resume, config;
  bool reset_optimizer = false, force = false, json = false, quiet = false;
};

OptionTable options(Call& call) {
  return OptionBuilder()
      .text("out", call.out, "run folder to make; default: a new one under runs/")
      .text("resume", call.resume, "run folder, or a checkpoint in it, to go on from")
      .text("config", call.config,
            "file of option values, such as a run folder's config.toml; flags win")
      .boolean("reset_optimizer", call.reset_optimizer,
               "with --resume: go on from the weights alone, with fresh optimizer state, for which "
               "options of the optimizer may change")
      .boolean("force", call.force, "replace the run in the folder --out")
      .boolean("json", call.json,
               "a summary as one JSON object on standard output, the rest on standard error")
      .boolean("quiet", call.quiet, "show warnings and errors only")
      .table();
}

/// A run that is about to begin or to go on.
struct Plan {
  TrainConfig config;
  fs::path folder;
  fs::path checkpoint;  ///< asked for by name, or empty: the newest
  bool resumed = false;
};

/// runs/<preset>-<optimizer>-<first free number>
fs::path new_folder(const TrainConfig& config) {
  const std::string& preset = config.run.preset;
  const std::string stem =
      fmt::format("{}-{}", preset.empty() ? "custom" : preset, config.optimizer.optimizer);
  for (int i = 1;; ++i) {
    const fs::path folder = fs::path("runs") / fmt::format("{}-{}", stem, i);
    if (!fs::exists(folder)) return folder;
  }
}

void plan_new(const Call& call, std::span<const Assignment> flags, Plan& plan) {
  std::vector<Assignment> file;
  if (!call.config.empty()) file = read_config(call.config);
  plan.config.layer(file, flags);
  plan.config.resolve();
  plan.folder = call.out.empty() ? new_folder(plan.config) : fs::path(call.out);
  if (!call.force) RunFolder::require_no_run(plan.folder);
}

bool same_path(const fs::path& a, const fs::path& b) {
  return fs::weakly_canonical(a) == fs::weakly_canonical(b);
}

/// The options of a run; a checkpoint holds them as well as their file.
std::vector<Assignment> saved_config(const Plan& plan) {
  if (fs::exists(plan.folder / kConfigFile)) return read_config(plan.folder / kConfigFile);
  const fs::path path =
      plan.checkpoint.empty() ? find_run(plan.folder).checkpoint : plan.checkpoint;
  return parse_config(read_run_state(TensorFile(path).metadata(), path).config, path.string());
}

void plan_resumed(const Call& call, std::span<const Assignment> flags, Plan& plan) {
  if (call.force)
    throw ConfigError("--force replaces a run and --resume goes on with it; use one of them");
  plan.resumed = true;
  plan.folder = call.resume;
  if (fs::is_regular_file(call.resume)) {
    plan.checkpoint = call.resume;
    plan.folder = find_run(call.resume).folder;
  }
  if (!RunFolder::holds_run(plan.folder))
    throw ConfigError(fmt::format("--resume: there is no run in {}", plan.folder.string()));
  if (!call.out.empty() && !same_path(call.out, plan.folder))
    throw ConfigError(fmt::format("--resume goes on in {}; --out cannot name another folder",
                                  plan.folder.string()));

  std::vector<Assignment> file = saved_config(plan);
  TrainConfig saved;
  saved.layer(file, {});
  if (!call.config.empty())
    for (Assignment& a : read_config(call.config)) file.push_back(std::move(a));
  plan.config.layer(file, flags);
  plan.config.resolve();
  ResumeConflicts conflicts = resume_conflicts(saved, plan.config);
  if (call.reset_optimizer) conflicts.optimizer.clear();
  const bool optimizer_alone = conflicts.others.empty();
  for (std::string& conflict : conflicts.optimizer) conflicts.others.push_back(std::move(conflict));
  if (!conflicts.others.empty())
    throw ConfigError(fmt::format(
        "--resume {}: {}; a run keeps these options to its end, so start a new one with "
        "another --out{}",
        plan.folder.string(), fmt::join(conflicts.others, ", "),
        optimizer_alone
            ? ", or go on from its weights with fresh optimizer state by --reset_optimizer"
            : ""));
}

/// Throws: ConfigError that says how the optimizer's state in a checkpoint of this model differs
/// from what these options need.
void require_same_state(const TensorFile& file, std::span<const NamedTensor> weights,
                        std::span<const NamedTensor> state, const fs::path& path) {
  const auto in_file = [&](const NamedTensor& t) {
    const auto& entries = file.entries();
    return std::any_of(entries.begin(), entries.end(), [&](const TensorFile::Entry& e) {
      return e.name == t.name && e.shape == t.tensor.shape();
    });
  };
  if (!std::all_of(weights.begin(), weights.end(), in_file)) return;  // reading says more
  const auto is_state = [](const TensorFile::Entry& entry) {
    return entry.name.rfind("opt/", 0) == 0;
  };
  if (std::none_of(file.entries().begin(), file.entries().end(), is_state))
    throw ConfigError(fmt::format(
        "--resume: {} holds weights alone, without the optimizer's state that a run needs to go "
        "on; --reset_optimizer goes on without, and sample, eval and info can use it. The newest "
        "whole checkpoint goes on with\n  {}",
        path.string(), command_text("train --resume", find_run(path).folder.string())));
  std::map<std::string, Shape> lacks, surplus;
  for (const NamedTensor& s : state) lacks.emplace(s.name, s.tensor.shape());
  for (const TensorFile::Entry& entry : file.entries()) {
    if (!is_state(entry)) continue;
    const auto same = lacks.find(entry.name);
    if (same != lacks.end() && same->second == entry.shape)
      lacks.erase(same);
    else
      surplus.emplace(entry.name.substr(4), entry.shape);
  }
  if (lacks.empty() && surplus.empty()) return;
  const auto list = [](const std::map<std::string, Shape>& tensors) {
    std::vector<std::string> shown;
    for (const auto& [name, shape] : tensors) {
      if (shown.size() == kMostListed) break;
      shown.push_back(fmt::format("{} {}", name, shape.str()));
    }
    return fmt::format("{}{}", fmt::join(shown, ", "),
                       tensors.size() > kMostListed
                           ? fmt::format(" and {} more", tensors.size() - kMostListed)
                           : "");
  };
  std::vector<std::string> differences;
  if (!lacks.empty()) differences.push_back("it has no " + list(lacks));
  if (!surplus.empty()) differences.push_back("it has " + list(surplus));
  throw ConfigError(fmt::format(
      "--resume: the optimizer's state in {} is that of another rule or of other routes: {}; "
      "--reset_optimizer goes on from the weights with fresh state",
      path.string(), fmt::join(differences, "; ")));
}

/// Fills model and optimizer from the checkpoint to go on from; where the run stands.
/// `reset`: the optimizer's state is made anew.
RunState read_into(const TensorFile& file, const fs::path& path, bool reset, const Corpus& corpus,
                   const Gpt& model, Optimizer& optimizer) {
  RunState state = read_run_state(file.metadata(), path);
  if (state.corpus_sha256 != corpus.sha256 ||
      state.tokenizer_sha256.value_or(tokenizer_sha256(corpus.tokenizer.get())) !=
          tokenizer_sha256(corpus.tokenizer.get()))
    throw FormatError(fmt::format(
        "{} is not what it was when the run began; a run can only go on with the same data",
        corpus.name));
  std::vector<NamedTensor> tensors = named_parameters(model);
  if (reset) {
    file.read_all(tensors, "opt/");
    optimizer.reset_state();
    state.state_from = state.updates;
  } else {
    const EvalWeights saved(optimizer);
    const std::vector<NamedTensor> kept = optimizer.state();
    require_same_state(file, tensors, kept, path);
    tensors.insert(tensors.end(), kept.begin(), kept.end());
    file.read_all(tensors);
  }
  optimizer.set_steps_done(state.updates, state.state_from);
  return state;
}

RunState restore(const fs::path& path, bool reset, const Corpus& corpus, const Gpt& model,
                 Optimizer& optimizer) {
  const TensorFile file(path);
  file.verify();
  try {
    return read_into(file, path, reset, corpus, model, optimizer);
  } catch (const FormatError& error) {
    throw FormatError(error.what() + other_version(file.metadata()));
  }
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", utc);
}

std::string manifest(const TrainConfig& config, const Corpus& corpus, const Gpt& model) {
  const Machine machine = describe_machine();
  JsonObject data;
  data.add("name", corpus.name)
      .add("sha256", corpus.sha256)
      .add("train_tokens", corpus.train.size())
      .add("val_tokens", corpus.val.size())
      .add("vocab_size", corpus.vocab_size)
      .add("val_floor", corpus.val_floor)
      .add("source_entropy", corpus.source_entropy);
  if (config.data.data == "builtin")
    data.add("builtin_size", config.data.builtin_size)
        .add("builtin_seed", config.data.builtin_seed);
  JsonObject object;
  object.add("program", "muonlab " MUONLAB_VERSION)
      .add("started", utc_now())
      .add("compiler", compiler_name())
      .add("cpu", machine.cpu)
      .add("cores", machine.cores)
      .add("instruction_sets", machine.instruction_sets)
      .add("gemm_provider", cpu::gemm_provider())
      .add("threads", cpu::threads())
      .add("seed", config.run.seed)
      .add("parameters", model.parameter_count())
      .add("initial_weights_sha256", weights_sha256(named_parameters(model)))
      .add("data", data);
  return object.str() + '\n';
}

/// The routing table in short: one line for all parameters of one rule, rate, decay and reason.
std::vector<std::string> summarize(std::span<const Route> routes) {
  struct Group {
    const Route* first;
    std::int64_t tensors = 0, parameters = 0;
  };
  std::vector<Group> groups;
  for (const Route& route : routes) {
    auto group = std::find_if(groups.begin(), groups.end(), [&](const Group& g) {
      return g.first->rule == route.rule && g.first->lr == route.lr &&
             g.first->decay == route.decay && g.first->reason == route.reason;
    });
    if (group == groups.end()) group = groups.insert(group, {&route, 0, 0});
    ++group->tensors;
    group->parameters += route.shape.numel();
  }
  std::vector<std::string> lines;
  for (const Group& g : groups)
    lines.push_back(fmt::format("{:<6} {:>11} in {:>2} tensor{} lr {:<6g} decay {:<4g} {}",
                                g.first->rule, with_thousands(g.parameters), g.tensors,
                                g.tensors == 1 ? ", " : "s,", g.first->lr, g.first->decay,
                                g.first->reason));
  return lines;
}

/// "the checkpoints of steps 10, 15 and 3 lines of metrics", or "" if nothing was removed.
std::string text_of(const RunFolder::Removed& removed) {
  std::vector<std::string> parts;
  if (!removed.checkpoints.empty())
    parts.push_back(fmt::format("the checkpoint{0} of step{0} {1}",
                                removed.checkpoints.size() == 1 ? "" : "s",
                                fmt::join(removed.checkpoints, ", ")));
  if (removed.metrics > 0)
    parts.push_back(
        fmt::format("{} line{} of metrics", removed.metrics, removed.metrics == 1 ? "" : "s"));
  return fmt::format("{}", fmt::join(parts, " and "));
}

std::string describe(Device device) {
  if (device == Device{})
    return fmt::format("cpu, {} thread{}, products by {}", cpu::threads(),
                       cpu::threads() == 1 ? "" : "s", cpu::gemm_provider());
  std::string text = device.str();
  for (const DeviceInfo& info : devices())
    if (info.device == device) text += ", " + info.description;
  return text;
}

void introduce(const Plan& plan, const RunState& state, const RunFolder::Removed& removed,
               const Corpus& corpus, const Gpt& model, const Optimizer& optimizer,
               Display& display) {
  const auto say = [&](std::string_view label, const std::string& text) {
    display.say(label, text);
  };
  const RunConfig& run = plan.config.run;
  const GptConfig& m = model.config;
  display.headline(fmt::format("muonlab {}: {}", MUONLAB_VERSION, describe(model.device())));
  say("data", fmt::format("{}: {} tokens to train on, {} to validate, {}{}", corpus.name,
                          with_thousands(corpus.train.size()), with_thousands(corpus.val.size()),
                          with_thousands(corpus.vocab_size),
                          corpus.tokenizer ? " different" : " in the vocabulary"));
  if (corpus.largest_token)
    say("", fmt::format("the vocabulary follows from the largest token, {}, rounded up to a "
                        "multiple of 64; --vocab_size names another",
                        with_thousands(*corpus.largest_token)));
  if (corpus.val_floor) {
    say("floor",
        fmt::format("{:.4f} nats per token: what the text to validate on costs a model that "
                    "knows its grammar; on average no model gets below",
                    *corpus.val_floor));
    say("",
        fmt::format("{:.4f} over all texts of this grammar: its entropy", *corpus.source_entropy));
  }
  say("model", fmt::format("{} parameters: {} layers, {} heads, width {}, window {}",
                           with_thousands(model.parameter_count()), m.n_layer, m.n_head, m.n_embd,
                           m.block_size));
  std::string_view label = "optimizer";
  for (const std::string& line : summarize(optimizer.routes())) say(std::exchange(label, ""), line);

  const std::int64_t per_step = run.batch * run.grad_accum * m.block_size;
  const double epochs = static_cast<double>(per_step) * static_cast<double>(run.steps) /
                        static_cast<double>(corpus.train.size());
  Schedule schedule = optimizer.config().schedule;
  std::string plan_text =
      fmt::format("{} steps of {} tokens, {:.2g} times the training data; {} schedule",
                  with_thousands(run.steps), with_thousands(per_step), epochs,
                  muonlab::options(schedule).front().get());
  if (run.horizon != run.steps)
    plan_text += fmt::format(" over {} steps", with_thousands(run.horizon));
  say("plan", plan_text);
  if (run.time_limit > 0)
    say("", fmt::format("at most {} of training", duration_text(run.time_limit)));
  say("run folder", plan.folder.string());
  if (state.step > 0) say("", fmt::format("going on after step {}", with_thousands(state.step)));
  if (const std::string text = text_of(removed); !text.empty())
    say("", fmt::format("removed what lay behind it: {}", text));
}

void conclude(Ending ending, const TrainingLoop& loop, const Plan& plan,
              const std::optional<LossReport>& whole, Display& display) {
  if (display.live()) {
    std::vector<CurvePoint> points;
    for (const MetricsRow& row : read_metrics(plan.folder))
      if (row.loss) points.push_back({static_cast<double>(row.step), *row.loss});
    display.curve(points);
  }
  const RunState& state = loop.state();
  const std::string speed =
      loop.tokens_per_s() > 0
          ? fmt::format(", {} tokens/s", with_thousands(std::llround(loop.tokens_per_s())))
          : "";
  if (ending == Ending::interrupted) {
    display.say(fmt::format("stopped after step {}; everything is saved in {}. Go on with",
                            state.step, plan.folder.string()));
    display.command(command_text("train --resume", plan.folder.string()));
    return;
  }
  display.say(fmt::format("{} after {} steps and {}{}",
                          ending == Ending::time_limit ? "time is up" : "finished",
                          with_thousands(state.step), duration_text(state.elapsed_s), speed));
  if (const std::int64_t skipped = state.step - state.updates; skipped > 0)
    display.say(fmt::format("{} of the steps {} skipped, as {} gradients were not finite", skipped,
                            skipped == 1 ? "was" : "were", skipped == 1 ? "its" : "their"));
  if (whole) display.headline(fmt::format("whole validation split: {}", whole->text()));
  display.say("Let it write with");
  display.command(command_text("sample", plan.folder.string()));
}

JsonObject summary(Ending ending, const TrainingLoop& loop, const Plan& plan,
                   const std::optional<LossReport>& whole, const Corpus& corpus, const Gpt& model) {
  const RunState& state = loop.state();
  JsonObject object;
  object
      .add("status", ending == Ending::finished     ? "finished"
                     : ending == Ending::time_limit ? "time_limit"
                                                    : "interrupted")
      .add("run", plan.folder.string())
      .add("step", state.step)
      .add("steps", plan.config.run.steps)
      .add("skipped_steps", state.step - state.updates)
      .add("train_loss", loop.train_loss())
      .add("val_loss", state.val_loss)
      .add("val_split", state.val_is_whole ? "whole" : "subset")
      .add("best_val_loss", state.best_val_loss)
      .add("val_floor", corpus.val_floor);
  object.add("source_entropy", corpus.source_entropy).add("above_floor", state.above_floor());
  if (whole) object.add("bits_per_character", whole->bits_per_character);
  object.add("elapsed_s", state.elapsed_s)
      .add("startup_s", loop.startup_s())
      .add("tokens_per_s", loop.tokens_per_s())
      .add("peak_rss_mib", peak_rss_mib())
      .add("weights_sha256", weights_sha256(named_parameters(model)));
  return object;
}

}  // namespace

int train_command(std::span<const std::string> arguments) {
  Call call;
  Plan plan;
  CommandSpec spec{"train",
                   "Trains a model, or goes on with a run. Values of a preset are overridden by a "
                   "configuration file, and both by flags.",
                   "", plan.config.groups()};
  for (const Preset& preset : presets()) spec.presets.emplace_back(preset.name, preset.about);
  const OptionGroup call_group{"This call", options(call)};
  spec.groups.insert(spec.groups.begin(), call_group);
  const auto given = parse_flags(spec, arguments);
  if (!given) return 0;
  const auto [call_flags, flags] = split_flags(*given, call_group);
  assign({&call_group, 1}, call_flags);

  Display display(call.json ? stderr : stdout, call.quiet);
  ::signal(SIGPIPE, SIG_IGN);  // see Display
  ::signal(SIGXFSZ, SIG_IGN);  // a limit on file sizes is an error like a full disk
  catch_interrupts();
  // One command line that begins a run and, called again, goes on with it.
  const bool nothing_yet = !call.resume.empty() && !call.out.empty() &&
                           same_path(call.resume, call.out) && !RunFolder::holds_run(call.out);
  if (call.reset_optimizer && call.resume.empty())
    throw ConfigError("--reset_optimizer goes on with a run, so it needs --resume");
  if (!call.resume.empty() && !nothing_yet)
    plan_resumed(call, flags, plan);
  else
    plan_new(call, flags, plan);
  for (const Assignment& flag : flags) {
    const std::string reason = why_unused(plan.config.optimizer, flag.name);
    if (reason.rfind("no parameter goes to", 0) == 0)
      throw ConfigError(fmt::format("--{} would change nothing: {}", flag.name, reason));
    if (!reason.empty()) display.warn(fmt::format("--{} changes nothing: {}", flag.name, reason));
  }

  const RunConfig& run = plan.config.run;
  if (run.threads > 0) cpu::set_threads(static_cast<int>(run.threads));
  if (plan.config.data.data.empty())
    throw ConfigError(
        "--data is needed, since this preset comes without text: a text file, a token file, or a "
        "folder with train.bin and val.bin");
  const Corpus corpus = open_corpus(plan.config.data);
  if (corpus.tokenizer && find_assignment(flags, "vocab_size"))
    display.warn("--vocab_size changes nothing: the data have a vocabulary of their own");
  check_block_size(corpus, plan.config.model.block_size);
  plan.config.model.vocab_size = corpus.vocab_size;
  const Device device = open_device(run);
  if (device == Device{})
    require_step_memory(plan.config.model, plan.config.optimizer, run.batch, run.grad_accum);
  const Gpt model(plan.config.model, run.seed, DType::f32, device);
  const std::string config = plan.config.text();
  std::vector<Parameter> params = model.parameters();
  initialise(params, plan.config.optimizer);
  Optimizer optimizer(std::move(params), std::move(plan.config.optimizer));

  RunFolder folder =
      plan.resumed ? RunFolder::reopen(plan.folder) : RunFolder::create(plan.folder, call.force);
  RunState state;
  RunFolder::Removed removed;
  if (plan.resumed) {
    const auto checkpoints = list_checkpoints(plan.folder);
    if (plan.checkpoint.empty() && !checkpoints.empty()) plan.checkpoint = checkpoints.back().path;
    try {
      if (!plan.checkpoint.empty())
        state = restore(plan.checkpoint, call.reset_optimizer, corpus, model, optimizer);
    } catch (const FormatError& error) {
      if (checkpoints.size() < 2 || plan.checkpoint != checkpoints.back().path) throw;
      throw FormatError(
          fmt::format("{}; the checkpoint before it can be tried with\n  {}", error.what(),
                      command_text("train --resume", checkpoints.end()[-2].path.string())));
    }
    if (run.steps < state.step)
      throw ConfigError(
          fmt::format("--steps {}: the run is at step {} already", run.steps, state.step));
    removed = folder.rewind(state.step);
  } else {
    folder.save(kManifestFile, manifest(plan.config, corpus, model));
  }
  if (corpus.tokenizer) folder.save(kTokenizerFile, corpus.tokenizer->to_json());
  folder.save(kRoutesFile, to_string(optimizer.routes()));
  folder.save(kConfigFile, config);
  state.config = config;
  state.vocab_size = corpus.vocab_size;
  state.corpus_sha256 = corpus.sha256;
  state.tokenizer_sha256 = tokenizer_sha256(corpus.tokenizer.get());
  state.val_floor = corpus.val_floor;
  state.source_entropy = corpus.source_entropy;
  introduce(plan, state, removed, corpus, model, optimizer, display);

  TrainingLoop loop(run, state, model, optimizer, corpus, folder, display);
  const Ending ending = loop.run();
  std::optional<LossReport> whole;
  if (loop.state().val_is_whole)
    whole = report_loss(*loop.state().val_loss, corpus, true, plan.config.model.block_size);
  const EvalWeights shown(optimizer);
  conclude(ending, loop, plan, whole, display);
  if (call.json) fmt::print("{}\n", summary(ending, loop, plan, whole, corpus, model).str());
  return ending == Ending::interrupted ? 130 : 0;
}

}  // namespace muonlab

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <vector>

#include "apps/cli.h"
#include "apps/commands.h"
#include "apps/display.h"
#include "apps/generator.h"
#include "apps/json.h"
#include "apps/machine.h"
#include "apps/memory.h"
#include "apps/presets.h"
#include "apps/train_config.h"
#include "apps/trainer.h"
#include "core/backend.h"
#include "core/cpu/parallel.h"
#include "core/error.h"
#include "core/profile.h"
#include "core/rng.h"

namespace muonlab {
namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* kDefaultPreset = "shakespeare-cpu";
constexpr std::int64_t kDefaultSteps = 100, kWarmup = 20, kProfiled = 10;

struct BenchConfig {
  std::int64_t vocab_size = 0;
  std::int64_t generate = 0;
  bool all_optimizers = false;
  bool json = false;
};

OptionTable options(BenchConfig& c) {
  return OptionBuilder()
      .integer("vocab_size", c.vocab_size, {0, 1e7}, "tokens; 0: as many as the preset's data have")
      .integer("generate", c.generate, {0, 1e9},
               "time the writing of so many tokens instead of training")
      .boolean("all_optimizers", c.all_optimizers,
               "time the optimizer's part of a step with every rule, on one preset or on three")
      .boolean("json", c.json, "the result as one JSON object")
      .table();
}

/// The options of a run that a benchmark on random tokens heeds.
std::vector<OptionGroup> heeded(std::vector<OptionGroup> groups) {
  constexpr std::array<std::string_view, 8> kRun{"preset", "steps",   "batch",  "grad_accum",
                                                 "seed",   "threads", "device", "precision"};
  std::vector<OptionGroup> kept;
  for (OptionGroup& group : groups) {
    if (group.title == "Data") continue;
    if (group.title == "Run")
      std::erase_if(group.options, [&](const Option& option) {
        return std::find(kRun.begin(), kRun.end(), option.name) == kRun.end();
      });
    kept.push_back(std::move(group));
  }
  return kept;
}

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + std::ssize(values) / 2;
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// To `digits` decimals, in the double that prints so.
double rounded(double value, int digits) {
  const double unit = std::pow(10, digits);
  return std::round(value * unit) / unit;
}

/// What bench/rival_torch.py calls it.
const char* name_by_rival(Precision precision) {
  switch (precision) {
    case Precision::f32:
      return "highest";
    case Precision::tf32:
      return "high";
    case Precision::bf16:
      return "amp";
  }
  return "?";
}

double time_generation(const Gpt& model, std::int64_t tokens, std::uint64_t seed) {
  SamplingOptions sampling;
  sampling.temperature = 1;
  sampling.seed = seed;
  const std::int32_t first = 0;
  Generator generator(model, {&first, 1}, sampling);
  const Clock::time_point start = Clock::now();
  for (std::int64_t i = 0; i < tokens; ++i) generator.next();
  return static_cast<double>(tokens) / seconds_since(start);
}

struct StepTimes {
  double step_ms = 0, optimizer_ms = 0;  ///< medians
  double tokens_per_s = 0;
  double startup_s = 0;         ///< from the start of the process to the first step
  std::int64_t raw_allocs = 0;  ///< memory requests to the operating system after the warm-up
  std::int64_t peak_rss_mib = 0;
  std::vector<ProfileRow> profile;
};

StepTimes time_steps(const Gpt& model, const RunConfig& run, OptimizerConfig optimizer_config) {
  std::vector<Parameter> params = model.parameters();
  initialise(params, optimizer_config);
  Optimizer optimizer(std::move(params), std::move(optimizer_config));
  Trainer trainer(model, optimizer, random_batches(model.config, run), run.grad_accum, run.seed);
  StepTimes times;
  times.startup_s = process_age();

  const Allocator& allocator = backend_of(model.device()).allocator();
  const std::int64_t warmup = std::min(kWarmup, run.steps);
  std::vector<double> steps, updates;
  for (std::int64_t i = 0; i < warmup + run.steps; ++i) {
    if (i == warmup) times.raw_allocs = allocator.stats().raw_allocs;
    const Clock::time_point start = Clock::now();
    const StepResult step = trainer.step(i);
    if (i < warmup) continue;
    steps.push_back(seconds_since(start));
    updates.push_back(step.optimizer_s);
  }
  times.raw_allocs = allocator.stats().raw_allocs - times.raw_allocs;
  times.peak_rss_mib = peak_rss_mib();
  times.step_ms = median(steps) * 1e3;
  times.optimizer_ms = median(updates) * 1e3;
  times.tokens_per_s = static_cast<double>(run.batch * run.grad_accum * model.config.block_size) /
                       times.step_ms * 1e3;

  Profile profile;
  for (std::int64_t i = 0; i < std::min(kProfiled, run.steps); ++i)
    trainer.step(warmup + run.steps + i);
  times.profile = profile.rows();
  return times;
}

void print_times(const StepTimes& times, double total) {
  const int width = describe_terminal(stdout).text_width();
  const auto say = [&](std::string_view label, std::string_view text) {
    constexpr int kMargin = 13;
    fmt::print("{}\n", labelled(label, text, kMargin, width));
  };
  say("step",
      fmt::format("{:.2f} ms, of which optimizer {:.2f} ms", times.step_ms, times.optimizer_ms));
  say("speed", fmt::format("{} tokens/s", with_thousands(std::llround(times.tokens_per_s))));
  say("peak memory",
      fmt::format("{} MiB; {} new blocks after the warm-up", times.peak_rss_mib, times.raw_allocs));
  say("start-up", fmt::format("{:.3f} s to the first step", times.startup_s));
  for (const ProfileRow& row : times.profile)
    fmt::print("  {:<24} {:5.1f} %\n", row.name, 100 * row.seconds / total);
}

/// What the optimizer's part of a step costs with one rule.
struct RuleCost {
  std::string preset, rule;
  double ms = 0;     ///< median
  double gflop = 0;  ///< arithmetic of core/math.h and core/linalg.h
  double words = 0;  ///< state, in numbers for each weight
};

/// Updates by the gradients of one batch, again and again.
RuleCost time_rule(const Gpt& model, const RunConfig& run, OptimizerConfig config) {
  constexpr double kLongest = 2;  // seconds
  constexpr std::size_t kFewest = 3;
  RuleCost cost{run.preset, config.optimizer, 0, 0, 0};
  Optimizer optimizer(model.parameters(), std::move(config));
  const auto step = [&] {
    if (optimizer.wants_sampled()) optimizer.take_sampled(run.batch * model.config.block_size);
    optimizer.step();
  };
  step();  // makes what is kept from step to step
  {
    Profile profile;
    step();
    cost.gflop = profile.flops() / 1e9;
  }
  std::vector<double> times;
  const Clock::time_point begin = Clock::now();
  while (times.size() < kFewest ||
         (std::ssize(times) < run.steps && seconds_since(begin) < kLongest)) {
    const Clock::time_point start = Clock::now();
    step();
    times.push_back(seconds_since(start));
  }
  cost.ms = median(std::move(times)) * 1e3;
  std::int64_t state = 0;
  for (const NamedTensor& s : optimizer.state()) state += s.tensor.numel();
  cost.words = static_cast<double>(state) / static_cast<double>(model.parameter_count());
  return cost;
}

std::vector<RuleCost> time_rules(std::span<const Assignment> flags, std::int64_t vocab_size) {
  TrainConfig config;
  config.layer({}, flags);
  config.resolve();
  if (config.run.threads > 0) cpu::set_threads(static_cast<int>(config.run.threads));
  config.model.vocab_size = vocab_size ? vocab_size : find_preset(config.run.preset).vocab_size;
  const Gpt model(config.model, config.run.seed, DType::f32, open_device(config.run));
  const Batch batch = random_batches(model.config, config.run)(0, 0);
  Tape tape;
  Var loss;
  {
    Recording recording(tape);
    loss = model.loss(batch.ids, batch.targets, Forward{});
  }
  tape.backward(loss);
  std::vector<RuleCost> costs;
  for (const std::string& rule : rule_names()) {
    std::vector<Assignment> with_rule(flags.begin(), flags.end());
    with_rule.push_back({"optimizer", rule, ""});
    TrainConfig each;
    each.layer({}, with_rule);
    each.resolve();
    require_step_memory(model.config, each.optimizer, config.run.batch, 1);
    costs.push_back(time_rule(model, config.run, std::move(each.optimizer)));
  }
  return costs;
}

void print_costs(std::span<const RuleCost> costs) {
  std::vector<std::string> names;
  for (const RuleCost& c : costs)
    if (std::find(names.begin(), names.end(), c.preset) == names.end()) names.push_back(c.preset);
  fmt::print("{:<20}", "");
  for (const std::string& preset : names) fmt::print("  {:>32}", preset);
  fmt::print("\n{:<20}", "rule");
  for (std::size_t i = 0; i < names.size(); ++i)
    fmt::print("  {:>10} {:>10} {:>10}", "ms", "GFLOP", "state");
  fmt::print("\n");
  const std::size_t rules = costs.size() / names.size();
  for (std::size_t r = 0; r < rules; ++r) {
    fmt::print("{:<20}", costs[r].rule);
    for (std::size_t p = 0; p < names.size(); ++p) {
      const RuleCost& c = costs[p * rules + r];
      fmt::print("  {:>10.2f} {:>10.3g} {:>10.2f}", c.ms, c.gflop, c.words);
    }
    fmt::print("\n");
  }
  fmt::print("state: numbers kept for each weight\n");
}

/// --all_optimizers
int compare_rules(const BenchConfig& bench, std::vector<Assignment> flags) {
  std::vector<std::string> chosen{"shakespeare-cpu", "shakespeare-mid", "gpt2-124m"};
  if (const std::string* preset = find_assignment(flags, "preset")) chosen = {*preset};
  std::erase_if(flags, [](const Assignment& a) { return a.name == "preset"; });
  std::vector<RuleCost> costs;
  for (const std::string& preset : chosen) {
    std::vector<Assignment> here = flags;
    here.push_back({"preset", preset, ""});
    for (RuleCost& c : time_rules(here, bench.vocab_size)) costs.push_back(std::move(c));
  }
  if (!bench.json) {
    print_costs(costs);
    return 0;
  }
  std::vector<JsonObject> rows;
  for (const RuleCost& c : costs) {
    JsonObject row;
    row.add("preset", c.preset)
        .add("optimizer", c.rule)
        .add("optimizer_ms", rounded(c.ms, 4))
        .add("gflop", c.gflop)
        .add("state_per_weight", rounded(c.words, 4));
    rows.push_back(row);
  }
  JsonObject object;
  object.add("threads", cpu::threads()).add("rules", rows);
  fmt::print("{}\n", object.str());
  return 0;
}

}  // namespace

int bench_command(std::span<const std::string> arguments) {
  TrainConfig config;
  BenchConfig bench;
  CommandSpec spec{
      "bench",
      "Times training steps, or generation, on random tokens: medians over --steps steps after a "
      "warm-up, then a few more under the profiler for the share of each primitive.",
      "", heeded(config.groups())};
  const OptionGroup bench_group{"Benchmark", options(bench)};
  spec.groups.insert(spec.groups.begin(), bench_group);
  const auto given = parse_flags(spec, arguments);
  if (!given) return 0;
  std::vector<Assignment> flags{{"steps", std::to_string(kDefaultSteps), ""}};
  const auto [bench_flags, run_flags] = split_flags(*given, bench_group);
  flags.insert(flags.end(), run_flags.begin(), run_flags.end());
  assign({&bench_group, 1}, bench_flags);
  if (bench.all_optimizers) {
    if (find_assignment(run_flags, "optimizer") || bench.generate > 0)
      throw ConfigError("--all_optimizers times every rule; leave out --optimizer and --generate");
    return compare_rules(bench, std::move(flags));
  }
  if (!find_assignment(run_flags, "preset")) flags.push_back({"preset", kDefaultPreset, ""});
  config.layer({}, flags);
  config.resolve();
  const RunConfig& run = config.run;
  if (run.threads > 0) cpu::set_threads(static_cast<int>(run.threads));
  config.model.vocab_size =
      bench.vocab_size ? bench.vocab_size : find_preset(run.preset).vocab_size;
  const Device device = open_device(run);
  if (device == Device{}) {
    if (bench.generate > 0)
      require_sampling_memory(config.model, true, "lower --n_embd, --n_layer or --block_size");
    else
      require_step_memory(config.model, config.optimizer, run.batch, run.grad_accum);
  }
  const Gpt model(config.model, run.seed, DType::f32, device);

  JsonObject result;
  result.add("preset", run.preset)
      .add("optimizer", config.optimizer.optimizer)
      .add("precision", name_by_rival(run.precision))
      .add("device", device.str())
      .add("compile", false)  // the rival's field: nothing is compiled at run time here
      .add("threads", cpu::threads());
  if (bench.generate > 0) {
    const double speed = time_generation(model, bench.generate, run.seed);
    result.add("generate_tokens_per_s", rounded(speed, 1)).add("peak_rss_mib", peak_rss_mib());
    if (!bench.json) fmt::print("generation   {} tokens/s\n", with_thousands(std::llround(speed)));
  } else {
    const StepTimes times = time_steps(model, run, std::move(config.optimizer));
    double total = 0;
    for (const ProfileRow& row : times.profile) total += row.seconds;
    JsonObject shares;
    for (const ProfileRow& row : times.profile)
      shares.add(row.name, rounded(row.seconds / total, 4));
    result.add("step_ms", rounded(times.step_ms, 3))
        .add("optimizer_ms", rounded(times.optimizer_ms, 3))
        .add("tokens_per_s", std::llround(times.tokens_per_s))
        .add("peak_rss_mib", times.peak_rss_mib)
        .add("startup_s", rounded(times.startup_s, 3))
        .add("raw_allocs", times.raw_allocs)
        .add("shares", shares);
    if (!bench.json) print_times(times, total);
  }
  if (bench.json) fmt::print("{}\n", result.str());
  return 0;
}

}  // namespace muonlab

// Elements, with L layers, width C, K = n_kv_head head_size, window T, vocabulary V, H heads and
// N = batch T rows:
//   matrices     L (C (C + 2K) + C^2 + 8 C^2)      q, k, v; projection; two of the feed-forward
//   embeddings   (V + T) C, and V C for a head of its own
//   gains        (2L + 1) C; biases as many, and L (C + 2K + 6C) in the linear layers
//   kept         a block: N (10C + 2K)             x, norm, q, k, v, attention, x, norm, 4C
//   for          and N (4 + H)                     mean and deviation of two norms, log-sum-exp
//   backward     behind them: N (2C + V + 5)       x, norm, logits; statistics, ids and targets
#include "apps/memory.h"

#include <fmt/format.h>

#include <array>
#include <vector>

#include "apps/machine.h"
#include "core/error.h"
#include "optim/routing.h"

namespace muonlab {
namespace {

constexpr double kItem = sizeof(float);  // as wide as an id

struct KindCount {
  ParamKind kind;
  double elements;
};

double n(std::int64_t value) { return static_cast<double>(value); }

std::array<KindCount, 5> parameter_counts(const GptConfig& m) {
  const double c = n(m.n_embd), kv = n(m.kv_heads() * m.head_size()), layers = n(m.n_layer);
  const double norms = (2 * layers + 1) * c, qkv = c + 2 * kv;
  return {{{ParamKind::matrix, layers * (c * qkv + 9 * c * c)},
           {ParamKind::embedding, (n(m.vocab_size) + n(m.block_size)) * c},
           {ParamKind::head, m.tied_head ? 0 : n(m.vocab_size) * c},
           {ParamKind::gain, norms},
           {ParamKind::bias, m.bias ? norms + layers * (qkv + 6 * c) : 0}}};
}

}  // namespace

double weights_memory(const GptConfig& model) {
  double elements = 0;
  for (const KindCount& k : parameter_counts(model)) elements += k.elements;
  return kItem * elements;
}

double cache_memory(const GptConfig& m) {
  return kItem * n(m.n_layer) * n(m.block_size) * 2 * n(m.kv_heads() * m.head_size());
}

StepMemory step_memory(const GptConfig& m, const OptimizerConfig& optimizer, std::int64_t batch,
                       std::int64_t grad_accum) {
  StepMemory need;
  need.accumulates = grad_accum > 1;
  need.weights = need.gradients = weights_memory(m);
  const Rule& main = optimizer.rule(optimizer.optimizer);
  for (const KindCount& k : parameter_counts(m)) {
    // A lower bound: state of another shape than its parameter's is left out, and where names
    // decide, it is the least that any rule could keep.
    const auto words = [&](const std::string& rule) {
      const auto specs = optimizer.rule(rule).state({.name = "", .kind = k.kind, .shape = {1, 1}});
      return std::count_if(specs.begin(), specs.end(),
                           [](const StateSpec& spec) { return !spec.shape; });
    };
    auto least = words(main.takes(k.kind) ? optimizer.optimizer : optimizer.aux);
    for (const RoutePattern& pattern : parse_routes(optimizer))
      if (!pattern.rule.empty() && pattern.kind.value_or(k.kind) == k.kind)
        least = std::min(least, words(pattern.rule));
    need.state += kItem * k.elements * static_cast<double>(least);
  }
  const double c = n(m.n_embd), kv = n(m.kv_heads() * m.head_size());
  const double rows = n(batch) * n(m.block_size);
  need.activations =
      kItem * rows *
      (n(m.n_layer) * (10 * c + 2 * kv + 4 + n(m.n_head)) + (2 * c + n(m.vocab_size) + 5));
  return need;
}

void require_memory(const std::string& what, std::span<const MemoryPart> parts,
                    const std::string& advice) {
  double total = 0;
  std::string list;
  for (const MemoryPart& part : parts) {
    total += part.bytes;
    list += fmt::format("{}{} {}", list.empty() ? "" : ", ", part.what, size_text(part.bytes));
  }
  const MemoryLimit limit = memory_limit();
  if (total > limit.bytes)
    throw ConfigError(fmt::format("{} needs at least {} of memory ({}), but {} {}; {}", what,
                                  size_text(total), list, limit.whose, size_text(limit.bytes),
                                  advice));
}

void require_step_memory(const GptConfig& model, const OptimizerConfig& optimizer,
                         std::int64_t batch, std::int64_t grad_accum) {
  const StepMemory need = step_memory(model, optimizer, batch, grad_accum);
  const double limit = memory_limit().bytes;
  const bool forward = need.after_forward() > need.after_backward();
  // What does not fit by itself must shrink; where only the sum is too large, either helps.
  std::vector<std::string> options;
  if (need.after_backward() > limit || need.activations <= limit) {
    options.emplace_back("--n_embd");
    options.emplace_back("--n_layer");
  }
  if (need.activations > limit || (forward && need.after_backward() <= limit)) {
    options.emplace_back("--block_size");
    options.emplace_back("--batch (with a larger --grad_accum, an update sees as much text)");
  }
  std::string advice = "lower ";
  for (std::size_t i = 0; i < options.size(); ++i)
    advice += (i == 0 ? "" : i + 1 == options.size() ? " or " : ", ") + options[i];
  std::vector<MemoryPart> parts{{"weights", need.weights}, {"optimizer state", need.state}};
  if (!forward || need.accumulates) parts.push_back({"gradients", need.gradients});
  if (forward) parts.push_back({"activations", need.activations});
  require_memory("a training step", parts, advice);
}

void require_sampling_memory(const GptConfig& model, bool cache, const std::string& advice) {
  std::vector<MemoryPart> parts{{"weights", weights_memory(model)}};
  if (cache) parts.push_back({"keys and values of a window", cache_memory(model)});
  require_memory("sampling", parts, advice);
}

void require_evaluation_memory(const GptConfig& m, std::int64_t batch) {
  const double rows = n(batch) * n(m.block_size);  // the head's input and the logits
  require_memory("evaluation",
                 std::vector<MemoryPart>{{"weights", weights_memory(m)},
                                         {"logits", kItem * rows * n(m.n_embd + m.vocab_size)}},
                 "a run is evaluated in batches as large as those it was trained with, so this "
                 "takes a machine with more memory");
}

std::string size_text(double bytes) {
  constexpr std::array<const char*, 7> kUnits{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB"};
  std::size_t unit = 0;
  double value = bytes / 1024;
  for (; value >= 1024 && unit + 1 < kUnits.size(); ++unit) value /= 1024;
  return fmt::format("{:.1f} {}", value, kUnits[unit]);
}

}  // namespace muonlab

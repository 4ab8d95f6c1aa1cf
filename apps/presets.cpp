#include "apps/presets.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"
#include "core/options.h"

namespace muonlab {
namespace {

// The shakespeare configurations are those of nanoGPT (Karpathy 2022): "shakespeare-cpu" its
// README's for a laptop, "shakespeare-gpu" config/train_shakespeare_char.py.
const std::vector<Preset> kPresets{
    {"tiny",
     "2 layers of width 32 on the built-in corpus, for a first look",
     64,
     {{"data", "builtin"},
      {"builtin_size", "100000"},
      {"n_layer", "2"},
      {"n_head", "2"},
      {"n_embd", "32"},
      {"block_size", "32"},
      {"batch", "8"},
      {"steps", "200"},
      {"warmup", "20"},
      {"adamw.beta2", "0.99"},
      {"eval_interval", "50"},
      {"eval_batches", "8"},
      {"checkpoint_interval", "50"}}},
    {"shakespeare-cpu",
     "nanoGPT's character model for a laptop, 0.8 M parameters",
     65,
     {{"data", "shakespeare"},
      {"n_layer", "4"},
      {"n_head", "4"},
      {"n_embd", "128"},
      {"block_size", "64"},
      {"batch", "12"},
      {"steps", "2000"},
      {"warmup", "100"},
      {"adamw.beta2", "0.99"},
      {"eval_interval", "250"},
      {"checkpoint_interval", "250"}}},
    {"shakespeare-mid",
     "shakespeare-gpu with small batches, 10.7 M parameters",
     65,
     {{"data", "shakespeare"},
      {"n_layer", "6"},
      {"n_head", "6"},
      {"n_embd", "384"},
      {"block_size", "256"},
      {"batch", "8"},
      {"steps", "5000"},
      {"warmup", "100"},
      {"adamw.beta2", "0.99"},
      {"eval_interval", "250"},
      {"checkpoint_interval", "250"}}},
    {"shakespeare-gpu",
     "nanoGPT's character model for a GPU, 10.7 M parameters",
     65,
     {{"data", "shakespeare"},
      {"n_layer", "6"},
      {"n_head", "6"},
      {"n_embd", "384"},
      {"block_size", "256"},
      {"dropout", "0.2"},
      {"batch", "64"},
      {"steps", "5000"},
      {"warmup", "100"},
      {"adamw.beta2", "0.99"},
      {"eval_interval", "250"},
      {"checkpoint_interval", "250"}}},
    {"gpt2-124m",
     "the smallest GPT-2 with short windows; needs --data with tokens",
     50257,
     {{"data", ""},
      {"vocab_size", "50257"},
      {"n_layer", "12"},
      {"n_head", "12"},
      {"n_embd", "768"},
      {"bias", "true"},
      {"block_size", "64"},
      {"batch", "4"},
      {"steps", "2000"},
      {"warmup", "100"},
      {"adamw.beta2", "0.99"},
      {"eval_interval", "250"},
      {"checkpoint_interval", "250"}}},
};

}  // namespace

std::span<const Preset> presets() { return kPresets; }

const Preset& find_preset(const std::string& name) {
  std::vector<std::string> names;
  for (const Preset& preset : kPresets) {
    if (preset.name == name) return preset;
    names.push_back(preset.name);
  }
  const std::string near = nearest_name(name, names);
  throw ConfigError(fmt::format("--preset: there is no preset '{}'; the presets are {}{}", name,
                                fmt::join(names, ", "),
                                near.empty() ? "" : fmt::format(" (did you mean '{}'?)", near)));
}

std::vector<std::pair<std::string, std::string>> optimizer_defaults(const std::string& optimizer) {
  if (optimizer == "muon") return {{"muon.scale", "spectral"}, {"lr", "0.02"}, {"aux_lr", "0.001"}};
  if (optimizer == "normuon" || optimizer == "coupled_muon")
    return {{"lr", "0.02"}, {"aux_lr", "0.001"}};
  if (optimizer == "dion" || optimizer == "dion2") return {{"lr", "0.01"}, {"aux_lr", "0.001"}};
  if (optimizer == "shampoo" || optimizer == "soap") return {{"lr", "0.003"}, {"aux_lr", "0.001"}};
  if (optimizer == "adafactor") return {{"lr", "0.01"}};
  // The authors' radii, 50 and 3000, are for wide models and long runs at rate 2^-12: at width 128
  // the first loss would be 600. The constrained form is its own decay.
  if (optimizer == "scion")
    return {
        {"scion.radius", "5"}, {"scion.radius_io", "20"}, {"lr", "0.01"}, {"weight_decay", "0"}};
  if (optimizer == "sgd") return {{"lr", "0.1"}};
  if (optimizer == "adam") return {{"weight_decay", "0"}};  // an L2 penalty, unlike AdamW's decay
  if (optimizer == "adagrad") return {{"lr", "0.01"}};
  if (optimizer == "prodigy") return {{"lr", "1"}};
  if (optimizer == "schedule_free_adamw") return {{"lr", "0.0025"}, {"schedule", "constant"}};
  return {};
}

}  // namespace muonlab

#include "nn/config.h"

#include <fmt/format.h>

#include <cmath>

#include "core/error.h"

namespace muonlab {

OptionTable options(GptConfig& c) {
  constexpr double kManyLayers = 1000, kWide = 65536, kLong = 1 << 20;
  return OptionBuilder()
      .integer("n_layer", c.n_layer, {.min = 1, .max = kManyLayers}, "number of transformer blocks")
      .integer("n_head", c.n_head, {.min = 1, .max = kWide},
               "number of query heads; divides n_embd")
      .integer("n_kv_head", c.n_kv_head, {.min = 0, .max = kWide},
               "number of key and value heads; divides n_head; 0: n_head")
      .integer("n_embd", c.n_embd, {.min = 1, .max = kWide}, "width of the residual stream")
      .integer("block_size", c.block_size, {.min = 1, .max = kLong}, "context length in tokens")
      .boolean("bias", c.bias, "biases in linear layers and norms")
      .number(
          "dropout", c.dropout, {.min = 0, .max = 1, .open_max = true},
          "probability of dropping an element of the embedding, of the attention's probabilities "
          "and of each block's two outputs")
      .boolean("tied_head", c.tied_head, "the head shares the token embedding's weight")
      .enumeration("activation", c.activation,
                   {"none", "gelu", "gelu_tanh", "relu", "relu_squared", "silu"},
                   "nonlinearity of the feed-forward layers")
      .table();
}

void validate(const GptConfig& c) {
  GptConfig ranges = c;
  for (const Option& o : options(ranges)) o.set(o.get());  // throws outside the option's range
  if (c.vocab_size < 1)
    throw ConfigError(
        fmt::format("the vocabulary must have at least one token; got {}", c.vocab_size));
  if (c.n_embd % c.n_head != 0)
    throw ConfigError(
        fmt::format("--n_embd {} must be a multiple of --n_head {}", c.n_embd, c.n_head));
  if (c.n_head % c.kv_heads() != 0)
    throw ConfigError(
        fmt::format("--n_head {} must be a multiple of --n_kv_head {}", c.n_head, c.kv_heads()));
}

double residual_std(const GptConfig& c) {
  return 0.02 / std::sqrt(2 * static_cast<double>(c.n_layer));
}

}  // namespace muonlab

#pragma once

#include <cstdint>
#include <vector>

#include "core/options.h"
#include "core/param.h"
#include "nn/block.h"
#include "nn/config.h"
#include "nn/embedding.h"
#include "nn/linear.h"
#include "nn/norm.h"

namespace muonlab {

/// Keys and values of the positions seen so far, one tensor (B, block_size, 2 Hkv D) per block.
struct KvCache {
  std::vector<Tensor> layers;
  std::int64_t length = 0;  ///< positions held, the same in every layer
};

/// A decoder-only transformer: token + position embedding, n_layer pre-norm blocks, a final norm, a
/// head that is tied to the token embedding or has weights of its own. Parameters are handles:
/// training changes the values of a const Gpt too.
struct Gpt {
  GptConfig config;
  Embedding embedding;
  std::vector<TransformerBlock> blocks;
  Norm ln_f;
  Linear head;  ///< without weights of its own if tied

  /// Throws: ConfigError for sizes that do not fit together.
  Gpt(GptConfig config, std::uint64_t seed, DType dtype = DType::f32, Device device = {});

  /// ids: (B, T) i32, T <= block_size. Returns logits (B, T, V).
  /// Throws: ShapeError; Error if an id is outside the vocabulary.
  Var logits(const Tensor& ids, const Forward& forward) const;
  /// Mean cross-entropy in nats per token against targets (B, T) i32; a one-element Var.
  Var loss(const Tensor& ids, const Tensor& targets, const Forward& forward) const;

  /// Logits (B, V) of the last of the new positions ids (B, T), which follow what the cache holds;
  /// the cache grows by T. Throws: ShapeError if it would grow beyond block_size.
  Tensor decode(const Tensor& ids, KvCache& cache) const;
  KvCache make_cache(std::int64_t batch) const;

  /// Every parameter once, in a fixed order.
  std::vector<Parameter> parameters() const;
  std::int64_t parameter_count() const;
  /// Where the parameters are.
  Device device() const;
};

}  // namespace muonlab

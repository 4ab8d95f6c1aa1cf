#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/ops/attention.h"
#include "nn/config.h"
#include "nn/forward.h"
#include "nn/linear.h"

namespace muonlab {

/// Causal self-attention with packed projections; n_kv_head below n_head shares keys and values.
struct CausalSelfAttention {
  AttentionShape shape;
  Linear qkv;          ///< (H + 2 Hkv) D rows: blocks q, k, v
  Linear proj;         ///< back to C
  double dropout = 0;  ///< of the probabilities

  CausalSelfAttention() = default;
  CausalSelfAttention(const Init& init, const std::string& name, const GptConfig& config);
  /// Shapes: x (B, T, C); returns the same. `site`: this layer's place among those that drop.
  Var operator()(const Var& x, const Forward& forward, std::uint64_t site) const;
  /// New positions behind a cache (B, block_size, 2 Hkv D) that holds `past` of them.
  Tensor decode(const Tensor& x, Tensor& cache, std::int64_t past) const;
  void collect(std::vector<Parameter>& out) const;
};

}  // namespace muonlab

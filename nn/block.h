#pragma once

#include <cstdint>
#include <vector>

#include "nn/attention.h"
#include "nn/config.h"
#include "nn/mlp.h"
#include "nn/norm.h"

namespace muonlab {

// The parts of a block. A further norm, attention or feed-forward becomes an alternative here,
// picked by GptConfig; the block itself reads the same.
using Norm = LayerNorm;
using Attention = CausalSelfAttention;
using FeedForward = Mlp;

/// One pre-norm transformer block.
struct TransformerBlock {
  Norm ln_1;
  Attention attn;
  Norm ln_2;
  FeedForward mlp;
  double dropout = 0;
  std::uint64_t site = 0;  ///< number of this block's first of three dropouts within the model

  TransformerBlock(const Init& init, std::int64_t layer, const GptConfig& config);
  /// Shapes: x (B, T, C); returns the same.
  Var operator()(Var x, const Forward& forward) const;
  Tensor decode(const Tensor& x, Tensor& cache, std::int64_t past) const;
  void collect(std::vector<Parameter>& out) const;
};

}  // namespace muonlab

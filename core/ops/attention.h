#pragma once

#include "core/autograd.h"

namespace muonlab {

/// Heads of an attention: `heads` query heads share `kv_heads` pairs of key and value heads,
/// equally many each. A packed row is [q of all heads | k of all kv_heads | v of all kv_heads].
struct AttentionShape {
  std::int64_t heads = 1, kv_heads = 1, head_size = 1;
  std::int64_t packed() const { return (heads + 2 * kv_heads) * head_size; }
};

/// Which probabilities of an attention are dropped: each with probability p, decided by seed and
/// stream (core/backend.h). Those that stay are divided by 1 - p.
struct AttentionDropout {
  double p = 0;
  std::uint64_t seed = 0, stream = 0;
};

/// y = dropout(softmax(q kT / sqrt(D))) v over keys at or before each query's own position.
/// Shapes: qkv (B, T, (H + 2 Hkv) D); y (B, T, H D). max_logit, if given: (H), raised to the
/// maximum of the scaled logits over unmasked positions, taken before the softmax. Throws:
/// ShapeError, DtypeError; ConfigError if p is not in [0, 1). Paper: Vaswani et al. 2017, equation
/// 1; grouped heads: Ainslie et al. 2023.
Var causal_attention(const Var& qkv, const AttentionShape& shape, Tensor max_logit = {},
                     const AttentionDropout& dropout = {});

/// The same for new positions behind a cache of earlier ones, without gradients.
/// Shapes: qkv (B, T, (H + 2 Hkv) D) of the new positions; cache (B, P, 2 Hkv D), rows [k | v], of
/// which the first `past` are in use. Returns (B, T, H D).
/// Writes: rows past ... past + T - 1 of the cache. Throws: ShapeError, DtypeError, DeviceError.
Tensor cached_attention(const Tensor& qkv, const AttentionShape& shape, Tensor& cache,
                        std::int64_t past);

}  // namespace muonlab

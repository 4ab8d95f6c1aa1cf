#pragma once

#include <cstdint>
#include <vector>

#include "core/backend.h"
#include "core/ops/attention.h"
#include "tests/support/array.h"

// Every fused primitive composed from its definition, in f64 and plain loops: the oracle of the
// kernels and the shortest explanation of what they compute. Nothing here is fast, and nothing here
// calls a kernel.
namespace muonlab::test::reference {

/// gelu: x Phi(x). gelu_tanh: x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))). silu: x sigmoid(x).
double activate(Activation kind, double x);
Array activation(Activation kind, const Array& x);

/// C = alpha op(A) op(B) + beta C, one matrix: a is (m, k) or (k, m), b is (k, n) or (n, k).
Array gemm(const Array& a, bool trans_a, const Array& b, bool trans_b, double alpha, double beta,
           const Array& c);

/// y[..., m] = sum_k act(x[..., k]) w[m, k] + bias[m]; bias may be null.
Array linear(const Array& x, const Array& w, const Array* bias, Activation kind);

/// Over the last dimension; b may be null.
Array layer_norm(const Array& x, const Array& w, const Array* b, double eps);
Array rms_norm(const Array& x, const Array& w, double eps);

/// ids (B, T); y (B, T, C) = wte[id] + wpe[position + t]; wpe may be null.
Array embedding(const Array& ids, const Array& wte, const Array* wpe, std::int64_t position);

/// Columns [begin, end) of the last dimension.
Array columns(const Array& x, std::int64_t begin, std::int64_t end);

struct Attention {
  Array y;                        ///< (B, Tq, H D)
  Array lse;                      ///< (B, H, Tq)
  std::vector<double> max_logit;  ///< per head, over batch and unmasked positions
};
/// q (B, Tq, H D), k and v (B, Tk, Hkv D). Query head h reads group h / (H / Hkv); query i sees
/// the keys j <= i + Tk - Tq. Of the probabilities, as an array (B, H, Tq, Tk), elements are
/// dropped as by dropout() below.
Attention causal_attention(const Array& q, const Array& k, const Array& v, std::int64_t heads,
                           std::int64_t kv_heads, double scale, const AttentionDropout& drop = {});

/// -log softmax(logits[n])[targets[n]] for each row n. logits (..., V), targets (...).
Array cross_entropy_rows(const Array& logits, const Array& targets);
/// The mean of those, shape of a scalar.
Array cross_entropy(const Array& logits, const Array& targets);

/// x mask / (1 - p): element i is dropped if word i mod 4 of the Philox 4x32-10 block with counter
/// (i / 4, stream) and key (seed, with RngPurpose::dropout in its top byte) is below p 2^32.
Array dropout(const Array& x, double p, std::uint64_t seed, std::uint64_t stream);

Array add(const Array& a, const Array& b);
Array mul(const Array& a, const Array& b);
Array scale(const Array& x, double factor);

}  // namespace muonlab::test::reference

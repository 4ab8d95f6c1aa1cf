// Causal attention with a streaming softmax, in square tiles of queries and keys; nothing of size
// T x T is kept. Forward: Milakov, Gimelshein 2018 (online softmax); tiling and backward as in Dao
// et al. 2022 (FlashAttention), algorithms 1, 2 and 4:
//   S = scale Q KT    P = exp(S - lse)    O = (P M) V
//   dV = (P M)T dO    dP = (dO VT) M    delta = rowsum(dO O)    dS = scale P (dP - delta)
//   dQ = dS K    dK = dST Q
// M, elementwise, is the dropout mask: 0 or 1 / (1 - p); all ones without dropout.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "core/cpu/cpu_backend.h"
#include "core/cpu/dropout_mask.h"
#include "core/cpu/gemm.h"
#include "core/cpu/parallel.h"
#include "core/cpu/vector_math.h"

namespace muonlab::cpu {
namespace {

constexpr std::int64_t kTile = 64;

/// Where the rows of one head lie: position t is at data + t * stride, head_size values.
template <class T>
struct Rows {
  T* data;
  std::int64_t stride;
  T* at(std::int64_t t) const { return data + t * stride; }
};

template <class T, class U>
Rows<T> rows_of(U& t, std::int64_t batch, std::int64_t offset, std::int64_t head,
                std::int64_t head_size) {
  const std::int64_t stride = t.shape()[2];
  return {t.template data<std::remove_const_t<T>>() + batch * t.shape()[1] * stride + offset +
              head * head_size,
          stride};
}

/// Number of keys of tile [k0, k0 + columns) that query i may see; keys end at its own position.
std::int64_t visible(std::int64_t position, std::int64_t k0, std::int64_t columns) {
  return std::clamp<std::int64_t>(position + 1 - k0, 0, columns);
}

/// The dropout mask of one (batch, head), by rows.
class HeadMask {
 public:
  HeadMask(const AttentionArgs& a, std::int64_t batch, std::int64_t head)
      : mask_(a.dropout, a.dropout_seed, a.dropout_stream),
        first_((batch * a.heads + head) * a.q.shape()[1] * a.keys),
        keys_(a.keys) {}

  /// Of query i and keys k0 ... k0 + n - 1.
  template <class T>
  void row(std::int64_t i, std::int64_t k0, std::int64_t n, T* mask) const {
    mask_.fill(first_ + i * keys_ + k0, n, mask);
  }

 private:
  DropoutMask mask_;
  std::int64_t first_, keys_;
};

template <class T>
void attention_typed(const AttentionArgs& a) {
  const std::int64_t batch = a.q.shape()[0], queries = a.q.shape()[1], keys = a.keys,
                     d = a.head_size;
  const std::int64_t group = a.heads / a.kv_heads, past = keys - queries;
  const std::int64_t tiles = chunk_count(queries, kTile), tasks = batch * a.heads * tiles;
  Tensor y_out = a.y, lse_out = a.lse, max_out = a.max_logit;
  std::vector<T> maxima(static_cast<std::size_t>(a.max_logit.defined() ? tasks : 0));
  parallel_for(tasks, 1, [&](std::int64_t task, std::int64_t) {
    const std::int64_t tile = task % tiles, h = task / tiles % a.heads, b = task / tiles / a.heads;
    const auto q = rows_of<const T>(a.q, b, a.q_offset, h, d);
    const auto k = rows_of<const T>(a.k, b, a.k_offset, h / group, d);
    const auto v = rows_of<const T>(a.v, b, a.v_offset, h / group, d);
    const auto y = rows_of<T>(y_out, b, 0, h, d);
    T* lse = lse_out.data<T>() + (b * a.heads + h) * queries;
    const std::int64_t q0 = tile * kTile, rows = std::min(kTile, queries - q0);
    const std::int64_t last = past + q0 + rows;  // keys before it are seen by some row of the tile

    const HeadMask dropout(a, b, h);

    alignas(64) T s[kTile * kTile];
    T mask[kTile];
    T top[kTile], sum[kTile];  // running maximum and sum of each row
    std::fill(top, top + rows, -std::numeric_limits<T>::infinity());
    std::fill(sum, sum + rows, T(0));
    for (std::int64_t k0 = 0; k0 < last; k0 += kTile) {
      const std::int64_t columns = std::min(kTile, last - k0);
      multiply(Product<T>{rows, columns, d, q.at(q0), q.stride, false, k.at(k0), k.stride, true, s,
                          kTile, static_cast<T>(a.scale)});
      for (std::int64_t i = 0; i < rows; ++i) {
        T* row = s + i * kTile;
        const std::int64_t seen = visible(past + q0 + i, k0, columns);
        T row_top = top[i];
#pragma omp simd reduction(max : row_top)
        for (std::int64_t j = 0; j < seen; ++j) row_top = row[j] > row_top ? row[j] : row_top;
        const T old = k0 == 0 ? T(0) : vexp(top[i] - row_top);
        T row_sum = 0;
#pragma omp simd reduction(+ : row_sum)
        for (std::int64_t j = 0; j < seen; ++j) {
          row[j] = vexp(row[j] - row_top);
          row_sum += row[j];
        }
        if (a.dropout > 0) {
          dropout.row(q0 + i, k0, seen, mask);
          for (std::int64_t j = 0; j < seen; ++j) row[j] *= mask[j];
        }
        std::fill(row + seen, row + columns, T(0));
        sum[i] = sum[i] * old + row_sum;
        top[i] = row_top;
        if (k0 > 0) {
          T* out = y.at(q0 + i);
          for (std::int64_t c = 0; c < d; ++c) out[c] *= old;
        }
      }
      multiply(Product<T>{rows, d, columns, s, kTile, false, v.at(k0), v.stride, false, y.at(q0),
                          y.stride, T(1), k0 == 0 ? T(0) : T(1)});
    }
    for (std::int64_t i = 0; i < rows; ++i) {
      T* out = y.at(q0 + i);
      const T inverse = T(1) / sum[i];
      for (std::int64_t c = 0; c < d; ++c) out[c] *= inverse;
      lse[q0 + i] = top[i] + std::log(sum[i]);
    }
    if (!maxima.empty())
      maxima[static_cast<std::size_t>(task)] = *std::max_element(top, top + rows);
  });
  if (!a.max_logit.defined()) return;
  T* top = max_out.data<T>();
  for (std::int64_t task = 0; task < tasks; ++task) {
    const std::int64_t h = task / tiles % a.heads;
    top[h] = std::max(top[h], maxima[static_cast<std::size_t>(task)]);
  }
}

template <class T>
void attention_backward_typed(const AttentionBackwardArgs& args) {
  const AttentionArgs& a = args.forward;
  const std::int64_t batch = a.q.shape()[0], time = a.q.shape()[1], d = a.head_size;
  const std::int64_t group = a.heads / a.kv_heads;
  const T scale = static_cast<T>(a.scale);
  Tensor dq_out = args.dq, dk_out = args.dk, dv_out = args.dv;
  // One task owns the keys of a group, which its query heads share, and the queries of those heads.
  parallel_for(batch * a.kv_heads, 1, [&](std::int64_t task, std::int64_t) {
    const std::int64_t g = task % a.kv_heads, b = task / a.kv_heads;
    const auto k = rows_of<const T>(a.k, b, a.k_offset, g, d);
    const auto v = rows_of<const T>(a.v, b, a.v_offset, g, d);
    const auto dk = rows_of<T>(dk_out, b, a.k_offset, g, d);
    const auto dv = rows_of<T>(dv_out, b, a.v_offset, g, d);
    alignas(64) T p[kTile * kTile];
    alignas(64) T ds[kTile * kTile];
    T mask[kTile];
    T delta[kTile];
    for (std::int64_t h = g * group; h < (g + 1) * group; ++h) {
      const auto q = rows_of<const T>(a.q, b, a.q_offset, h, d);
      const auto y = rows_of<const T>(a.y, b, 0, h, d);
      const auto dy = rows_of<const T>(args.dy, b, 0, h, d);
      const auto dq = rows_of<T>(dq_out, b, a.q_offset, h, d);
      const T* lse = a.lse.data<T>() + (b * a.heads + h) * time;
      const HeadMask dropout(a, b, h);
      for (std::int64_t q0 = 0; q0 < time; q0 += kTile) {
        const std::int64_t rows = std::min(kTile, time - q0), last = q0 + rows;
        for (std::int64_t i = 0; i < rows; ++i) {
          const T *out = y.at(q0 + i), *dout = dy.at(q0 + i);
          T sum = 0;
#pragma omp simd reduction(+ : sum)
          for (std::int64_t c = 0; c < d; ++c) sum += out[c] * dout[c];
          delta[i] = sum;
        }
        for (std::int64_t k0 = 0; k0 < last; k0 += kTile) {
          const std::int64_t columns = std::min(kTile, last - k0);
          // The first query tile that sees a key tile is the one at its own position.
          const T key_beta = h == g * group && q0 == k0 ? T(0) : T(1);
          multiply(Product<T>{rows, columns, d, q.at(q0), q.stride, false, k.at(k0), k.stride, true,
                              p, kTile, scale});
          multiply(Product<T>{rows, columns, d, dy.at(q0), dy.stride, false, v.at(k0), v.stride,
                              true, ds, kTile});
          for (std::int64_t i = 0; i < rows; ++i) {
            T *prow = p + i * kTile, *dsrow = ds + i * kTile;
            const std::int64_t seen = visible(q0 + i, k0, columns);
            const T shift = lse[q0 + i], row_delta = delta[i], factor = scale;
            if (a.dropout > 0) {
              dropout.row(q0 + i, k0, seen, mask);
              for (std::int64_t j = 0; j < seen; ++j) dsrow[j] *= mask[j];
            }
#pragma omp simd
            for (std::int64_t j = 0; j < seen; ++j) {
              prow[j] = vexp(prow[j] - shift);
              dsrow[j] = factor * prow[j] * (dsrow[j] - row_delta);
            }
            if (a.dropout > 0)
              for (std::int64_t j = 0; j < seen; ++j) prow[j] *= mask[j];
            std::fill(prow + seen, prow + columns, T(0));
            std::fill(dsrow + seen, dsrow + columns, T(0));
          }
          multiply(Product<T>{columns, d, rows, p, kTile, true, dy.at(q0), dy.stride, false,
                              dv.at(k0), dv.stride, T(1), key_beta});
          multiply(Product<T>{columns, d, rows, ds, kTile, true, q.at(q0), q.stride, false,
                              dk.at(k0), dk.stride, T(1), key_beta});
          multiply(Product<T>{rows, d, columns, ds, kTile, false, k.at(k0), k.stride, false,
                              dq.at(q0), dq.stride, T(1), k0 == 0 ? T(0) : T(1)});
        }
      }
    }
  });
}

}  // namespace

void CpuBackend::attention(const AttentionArgs& a) {
  with_type(a.y, [&](auto zero) { attention_typed<decltype(zero)>(a); });
}

void CpuBackend::attention_backward(const AttentionBackwardArgs& a) {
  with_type(a.dy, [&](auto zero) { attention_backward_typed<decltype(zero)>(a); });
}

}  // namespace muonlab::cpu

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
#include <memory>
#include <new>
#include <vector>

#include "core/cpu/cpu_backend.h"
#include "core/cpu/dropout_mask.h"
#include "core/cpu/gemm.h"
#include "core/cpu/parallel.h"
#include "core/cpu/small_product.h"
#include "core/cpu/vector_math.h"

namespace muonlab::cpu {
namespace {

constexpr std::int64_t kTile = 64;
/// Rows of a tile that are worked on together, up to the last key that one of them sees: so half of
/// a tile on the diagonal is left out, not only masked.
constexpr std::int64_t kBand = 16;

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

/// Such a number rounded up to whole vectors.
template <class T>
std::int64_t padded(std::int64_t keys) {
  return (keys + kLanes<T> - 1) / kLanes<T> * kLanes<T>;
}

/// n elements at the border of a vector, undefined.
template <class T>
class Scratch {
 public:
  explicit Scratch(std::int64_t n)
      : data_(new (std::align_val_t(kVectorBytes)) T[static_cast<std::size_t>(n)]) {}
  T* data() const { return data_.get(); }

 private:
  struct Free {
    void operator()(T* p) const { ::operator delete[](p, std::align_val_t(kVectorBytes)); }
  };
  std::unique_ptr<T[], Free> data_;
};

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

    const Scratch<T> kt(d * kTile);
    alignas(kVectorBytes) T s[kBand * kTile];
    T mask[kTile];
    T top[kTile], sum[kTile];  // running maximum and sum of each row
    std::fill(top, top + rows, -std::numeric_limits<T>::infinity());
    std::fill(sum, sum + rows, T(0));
    for (std::int64_t k0 = 0; k0 < last; k0 += kTile) {
      const std::int64_t columns = std::min(kTile, last - k0);
      if (rows > 1) transpose_small(columns, d, k.at(k0), k.stride, kTile, kt.data());
      for (std::int64_t band = 0; band < rows; band += kBand) {
        const std::int64_t height = std::min(kBand, rows - band);
        const std::int64_t band_seen = visible(past + q0 + band + height - 1, k0, columns);
        if (band_seen == 0) continue;
        const std::int64_t width = padded<T>(band_seen);
        if (rows > 1) {
          multiply_small(SmallProduct<T>{height, width, d, q.at(q0 + band), q.stride, 1, kt.data(),
                                         kTile, s, kTile, static_cast<T>(a.scale)});
        } else {  // as in generation: each key is needed once
          multiply(Product<T>{1, columns, d, q.at(q0), q.stride, false, k.at(k0), k.stride, true, s,
                              kTile, static_cast<T>(a.scale)});
        }
        for (std::int64_t i = 0; i < height; ++i) {
          T *row = s + i * kTile, &row_top = top[band + i], &row_sum = sum[band + i];
          const std::int64_t seen = visible(past + q0 + band + i, k0, columns);
          std::fill(row + seen, row + width, -std::numeric_limits<T>::infinity());
          T new_top = row_top;
#pragma omp simd reduction(max : new_top)
          for (std::int64_t j = 0; j < width; ++j) new_top = row[j] > new_top ? row[j] : new_top;
          const T old = k0 == 0 ? T(0) : vexp(row_top - new_top);
          T tile_sum = 0;
#pragma omp simd reduction(+ : tile_sum)
          for (std::int64_t j = 0; j < width; ++j) {
            row[j] = vexp(row[j] - new_top);
            tile_sum += row[j];
          }
          if (a.dropout > 0) {
            dropout.row(q0 + band + i, k0, seen, mask);
            for (std::int64_t j = 0; j < seen; ++j) row[j] *= mask[j];
          }
          row_sum = row_sum * old + tile_sum;
          row_top = new_top;
          if (k0 > 0) {
            T* out = y.at(q0 + band + i);
            for (std::int64_t c = 0; c < d; ++c) out[c] *= old;
          }
        }
        multiply_small(SmallProduct<T>{height, d, band_seen, s, kTile, 1, v.at(k0), v.stride,
                                       y.at(q0 + band), y.stride, T(1), k0 > 0});
      }
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
    const Scratch<T> kt(d * kTile), vt(d * kTile), delta(group * time);
    alignas(kVectorBytes) T p[kTile * kTile];
    alignas(kVectorBytes) T ds[kTile * kTile];
    T mask[kTile];
    for (std::int64_t h = g * group; h < (g + 1) * group; ++h) {
      const auto y = rows_of<const T>(a.y, b, 0, h, d);
      const auto dy = rows_of<const T>(args.dy, b, 0, h, d);
      for (std::int64_t t = 0; t < time; ++t) {
        const T *out = y.at(t), *dout = dy.at(t);
        T sum = 0;
#pragma omp simd reduction(+ : sum)
        for (std::int64_t c = 0; c < d; ++c) sum += out[c] * dout[c];
        delta.data()[(h - g * group) * time + t] = sum;
      }
    }
    for (std::int64_t k0 = 0; k0 < time; k0 += kTile) {
      const std::int64_t columns = std::min(kTile, time - k0);
      transpose_small(columns, d, k.at(k0), k.stride, kTile, kt.data());
      transpose_small(columns, d, v.at(k0), v.stride, kTile, vt.data());
      for (std::int64_t h = g * group; h < (g + 1) * group; ++h) {
        const auto q = rows_of<const T>(a.q, b, a.q_offset, h, d);
        const auto dy = rows_of<const T>(args.dy, b, 0, h, d);
        const auto dq = rows_of<T>(dq_out, b, a.q_offset, h, d);
        const T* lse = a.lse.data<T>() + (b * a.heads + h) * time;
        const T* head_delta = delta.data() + (h - g * group) * time;
        const HeadMask dropout(a, b, h);
        for (std::int64_t q0 = k0; q0 < time; q0 += kTile) {
          const std::int64_t rows = std::min(kTile, time - q0);
          for (std::int64_t band = 0; band < rows; band += kBand) {
            const std::int64_t height = std::min(kBand, rows - band);
            const std::int64_t band_seen = visible(q0 + band + height - 1, k0, columns);
            const std::int64_t width = padded<T>(band_seen);
            T *band_p = p + band * kTile, *band_ds = ds + band * kTile;
            multiply_small(SmallProduct<T>{height, width, d, q.at(q0 + band), q.stride, 1,
                                           kt.data(), kTile, band_p, kTile, scale});
            multiply_small(SmallProduct<T>{height, width, d, dy.at(q0 + band), dy.stride, 1,
                                           vt.data(), kTile, band_ds, kTile});
            for (std::int64_t i = 0; i < height; ++i) {
              T *prow = band_p + i * kTile, *dsrow = band_ds + i * kTile;
              const std::int64_t t = q0 + band + i, seen = visible(t, k0, columns);
              const T shift = lse[t], row_delta = head_delta[t], factor = scale;
              if (a.dropout > 0) {
                dropout.row(t, k0, seen, mask);
                for (std::int64_t j = 0; j < seen; ++j) dsrow[j] *= mask[j];
              }
              std::fill(prow + seen, prow + width, -std::numeric_limits<T>::infinity());
              std::fill(dsrow + seen, dsrow + width, T(0));
#pragma omp simd
              for (std::int64_t j = 0; j < width; ++j) {
                prow[j] = vexp(prow[j] - shift);
                dsrow[j] = factor * prow[j] * (dsrow[j] - row_delta);
              }
              if (a.dropout > 0)
                for (std::int64_t j = 0; j < seen; ++j) prow[j] *= mask[j];
            }
            multiply_small(SmallProduct<T>{height, d, band_seen, band_ds, kTile, 1, k.at(k0),
                                           k.stride, dq.at(q0 + band), dq.stride, T(1), k0 > 0});
          }
          // The first query that sees a key is the one at its own position.
          const bool first = h == g * group && q0 == k0;
          for (std::int64_t band = 0; band < columns; band += kBand) {
            const std::int64_t height = std::min(kBand, columns - band);
            const std::int64_t i = q0 == k0 ? band : 0;
            multiply_small(SmallProduct<T>{height, d, rows - i, p + i * kTile + band, 1, kTile,
                                           dy.at(q0 + i), dy.stride, dv.at(k0 + band), dv.stride,
                                           T(1), !first});
            multiply_small(SmallProduct<T>{height, d, rows - i, ds + i * kTile + band, 1, kTile,
                                           q.at(q0 + i), q.stride, dk.at(k0 + band), dk.stride,
                                           T(1), !first});
          }
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

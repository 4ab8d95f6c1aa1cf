#include "core/cpu/gemm.h"

#include <algorithm>

#include "core/cpu/activation.h"
#include "core/cpu/cpu_backend.h"
#include "core/cpu/parallel.h"

namespace muonlab::cpu {
namespace {

constexpr std::int64_t kRowStep = 8;
/// Multiples of the providers' register tiles; oneDNN packs a narrow transposed B at half speed.
constexpr std::int64_t column_step(bool trans_b) { return trans_b ? 128 : 32; }

std::int64_t round_up(std::int64_t x, std::int64_t step) { return (x + step - 1) / step * step; }

constexpr int kModelCores = 4;

/// Time of one product on one core in multiply-adds: the product itself, packing op(A) and op(B),
/// of which a transposed B costs most, and the call. The constants were fitted to oneDNN on
/// AVX-512.
double product_time(std::int64_t m, std::int64_t n, std::int64_t k, bool trans_b) {
  const auto rows = static_cast<double>(m), columns = static_cast<double>(n);
  return static_cast<double>(k) * (rows * columns + 8 * rows + (trans_b ? 40 : 8) * columns) +
         50000;
}

/// Height of the row panels of a symmetric (m, m) product: low panels save more of the upper half,
/// high ones pack less often.
std::int64_t choose_panel(std::int64_t batch, std::int64_t m, std::int64_t k, bool trans_b) {
  std::int64_t best = m;
  double best_time = 0;
  for (std::int64_t panels = 1; panels <= 16; ++panels) {
    const std::int64_t height = std::min(m, round_up(chunk_count(m, panels), column_step(trans_b)));
    double all = 0;
    for (std::int64_t i = 0; i < m; i += height)
      all += product_time(height, i + height, k, trans_b);
    const double time = std::max(static_cast<double>(batch) * all / kModelCores,
                                 product_time(height, m, k, trans_b));
    if (best_time == 0 || time < best_time) {
      best = height;
      best_time = time;
    }
  }
  return best;
}

/// C of one or many products, cut into tiles; f(batch, row, rows, column, columns) for each.
template <class F>
void for_tiles(std::int64_t batch, std::int64_t m, std::int64_t n, Tiling t, const F& f) {
  const std::int64_t across = chunk_count(n, t.columns), down = chunk_count(m, t.rows);
  parallel_for(batch * down * across, 1, [&](std::int64_t tile, std::int64_t) {
    const std::int64_t i = tile / across % down * t.rows, j = tile % across * t.columns;
    f(tile / (across * down), i, std::min(t.rows, m - i), j, std::min(t.columns, n - j));
  });
}

/// Copies what lies left of the diagonal in rows [begin, end) of a square matrix to the other side.
template <class T>
void mirror(T* c, std::int64_t n, std::int64_t begin, std::int64_t end) {
  constexpr std::int64_t kStrip =
      16;  // rows read together, so that a written line is filled at once
  for (std::int64_t strip = begin; strip < end; strip += kStrip) {
    const std::int64_t last = std::min(end, strip + kStrip);
    for (std::int64_t s = 0; s < last; ++s)
      for (std::int64_t r = std::max(strip, s + 1); r < last; ++r) c[s * n + r] = c[r * n + s];
  }
}

template <class T>
void gemm_typed(const GemmArgs& g) {
  const bool batched = g.c.shape().rank() == 3;
  const std::int64_t batch = batched ? g.c.shape()[0] : 1;
  const std::int64_t m = g.c.shape()[-2], n = g.c.shape()[-1];
  const std::int64_t k = g.trans_a ? g.a.shape()[-2] : g.a.shape()[-1];
  const std::int64_t lda = g.a.shape()[-1], ldb = g.b.shape()[-1];
  const T *a = g.a.data<T>(), *b = g.b.data<T>();
  Tensor out = g.c;
  T* c = out.data<T>();
  const auto product = [&](std::int64_t z, std::int64_t i, std::int64_t rows, std::int64_t j,
                           std::int64_t columns) {
    multiply(Product<T>{rows, columns, k, a + z * m * k + (g.trans_a ? i : i * lda), lda, g.trans_a,
                        b + z * k * n + (g.trans_b ? j * ldb : j), ldb, g.trans_b,
                        c + (z * m + i) * n + j, n, static_cast<T>(g.alpha),
                        static_cast<T>(g.beta)});
  };
  if (!g.symmetric) {
    for_tiles(batch, m, n, choose_tiling(batch, m, n, k, g.trans_b), product);
    return;
  }
  // Panels of rows, each up to its last diagonal element, the long ones first; what lies below the
  // diagonal is mirrored, also within the panel's own square, so that C is symmetric to the bit.
  const std::int64_t height = choose_panel(batch, m, k, g.trans_b), panels = chunk_count(m, height);
  parallel_for(batch * panels, 1, [&](std::int64_t task, std::int64_t) {
    const std::int64_t z = task % batch, i = (panels - 1 - task / batch) * height;
    const std::int64_t rows = std::min(height, m - i);
    product(z, i, rows, 0, i + rows);
    mirror(c + z * m * n, n, i, i + rows);
  });
}

template <class T>
void linear_typed(const LinearArgs& l) {
  const std::int64_t n = l.x.shape().rows(), k = l.w.shape()[1], m = l.w.shape()[0];
  const T *x = l.x.data<T>(), *w = l.w.data<T>(),
          *bias = l.bias.defined() ? l.bias.data<T>() : nullptr;
  Tensor hidden_out = l.hidden, y_out = l.y;
  T* hidden = l.activation == Activation::none ? nullptr : hidden_out.data<T>();
  T* y = y_out.data<T>();
  const Tiling tiling = choose_tiling(1, n, m, k, true);
  // Where a tile spans all columns, it activates its own rows while they are about to be used.
  const bool in_tile = tiling.columns >= m;
  if (hidden && !in_tile)
    parallel_for(n * k, 16384, [&](std::int64_t begin, std::int64_t end) {
      apply_activation(l.activation, end - begin, x + begin, hidden + begin);
    });
  for_tiles(
      1, n, m, tiling,
      [&](std::int64_t, std::int64_t i, std::int64_t rows, std::int64_t j, std::int64_t columns) {
        if (hidden && in_tile) apply_activation(l.activation, rows * k, x + i * k, hidden + i * k);
        multiply(Product<T>{rows, columns, k, (hidden ? hidden : x) + i * k, k, false, w + j * k, k,
                            true, y + i * m + j, m});
        for (std::int64_t r = i; r < i + rows && bias; ++r)
          for (std::int64_t s = j; s < j + columns; ++s) y[r * m + s] += bias[s];
      });
}

}  // namespace

Tiling choose_tiling(std::int64_t batch, std::int64_t m, std::int64_t n, std::int64_t k,
                     bool trans_b) {
  if (m == 1) return {1, std::max<std::int64_t>(64, round_up(n / 16, 64))};
  Tiling best{m, n};
  double best_time = 0;
  for (std::int64_t down = 1; down <= 16; ++down) {
    for (std::int64_t across = 1; down * across <= 16; ++across) {
      const Tiling t{std::min(m, round_up(chunk_count(m, down), kRowStep)),
                     std::min(n, round_up(chunk_count(n, across), column_step(trans_b)))};
      const std::int64_t tiles = batch * chunk_count(m, t.rows) * chunk_count(n, t.columns);
      const double time = product_time(t.rows, t.columns, k, trans_b) *
                          static_cast<double>(chunk_count(tiles, kModelCores));
      if (best_time == 0 || time < best_time) {
        best = t;
        best_time = time;
      }
    }
  }
  return best;
}

void CpuBackend::gemm(const GemmArgs& g) {
  if (g.c.numel() == 0) return;
  with_type(g.c, [&](auto zero) { gemm_typed<decltype(zero)>(g); });
}

void CpuBackend::linear(const LinearArgs& l) {
  if (l.y.numel() == 0) return;
  with_type(l.y, [&](auto zero) { linear_typed<decltype(zero)>(l); });
}

}  // namespace muonlab::cpu

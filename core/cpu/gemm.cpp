#include "core/cpu/gemm.h"

#include <algorithm>

#include "core/cpu/activation.h"
#include "core/cpu/cpu_backend.h"
#include "core/cpu/parallel.h"

namespace muonlab::cpu {
namespace {

constexpr std::int64_t kRowStep = 8, kColumnStep = 32;  // multiples of the register tiles of the providers

std::int64_t round_up(std::int64_t x, std::int64_t step) { return (x + step - 1) / step * step; }

/// C of one or many products, cut into tiles; f(batch, row, rows, column, columns) for each.
template <class F>
void for_tiles(std::int64_t batch, std::int64_t m, std::int64_t n, Tiling t, const F& f) {
  const std::int64_t across = chunk_count(n, t.columns), down = chunk_count(m, t.rows);
  parallel_for(batch * down * across, 1, [&](std::int64_t tile, std::int64_t) {
    const std::int64_t i = tile / across % down * t.rows, j = tile % across * t.columns;
    f(tile / (across * down), i, std::min(t.rows, m - i), j, std::min(t.columns, n - j));
  });
}

/// y_j = alpha x . b_j + beta y_j for every row b_j of b (n, k): a product with one row is bound by
/// reading b once, which a general routine that packs b does not do.
template <class T>
void multiply_vector(const Product<T>& p) {
  for (std::int64_t j = 0; j < p.n; ++j) {
    const T* b = p.b + j * p.ldb;
    T sum = 0;
#pragma omp simd reduction(+ : sum)
    for (std::int64_t l = 0; l < p.k; ++l) sum += p.a[l] * b[l];
    p.c[j] = p.alpha * sum + (p.beta == T(0) ? T(0) : p.beta * p.c[j]);
  }
}

template <class T>
void multiply_tile(const Product<T>& p) {
  if (p.m == 1 && !p.trans_a && p.trans_b) {
    multiply_vector(p);
  } else {
    multiply(p);
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
  const auto product = [&](std::int64_t z, std::int64_t i, std::int64_t rows, std::int64_t j, std::int64_t columns) {
    multiply_tile<T>({rows, columns, k, a + z * m * k + (g.trans_a ? i : i * lda), lda, g.trans_a,
                      b + z * k * n + (g.trans_b ? j * ldb : j), ldb, g.trans_b, c + (z * m + i) * n + j, n,
                      static_cast<T>(g.alpha), static_cast<T>(g.beta)});
  };
  if (!g.symmetric) {
    for_tiles(batch, m, n, choose_tiling(m, n, k), product);
    return;
  }
  // Square tiles on and below the diagonal; then each one below is mirrored. A tile on the diagonal
  // is mirrored within itself, so that the result is symmetric to the bit.
  const std::int64_t side = std::clamp<std::int64_t>(round_up(m / 8, 32), 64, 192);
  const std::int64_t down = chunk_count(m, side), tiles = down * (down + 1) / 2;
  parallel_for(batch * tiles, 1, [&](std::int64_t tile, std::int64_t) {
    std::int64_t row = 0, column = tile % tiles;
    while (column > row) column -= ++row;
    const std::int64_t z = tile / tiles, i = row * side, j = column * side;
    const std::int64_t rows = std::min(side, m - i), columns = std::min(side, n - j);
    product(z, i, rows, j, columns);
    T* square = c + z * m * n;
    for (std::int64_t r = i; r < i + rows; ++r)
      for (std::int64_t s = j; s < std::min(j + columns, r); ++s) square[s * n + r] = square[r * n + s];
  });
}

template <class T>
void linear_typed(const LinearArgs& l) {
  const std::int64_t n = l.x.shape().rows(), k = l.w.shape()[1], m = l.w.shape()[0];
  const T *x = l.x.data<T>(), *w = l.w.data<T>(), *bias = l.bias.defined() ? l.bias.data<T>() : nullptr;
  Tensor hidden_out = l.hidden, y_out = l.y;
  T* hidden = l.activation == Activation::none ? nullptr : hidden_out.data<T>();
  T* y = y_out.data<T>();
  const Tiling tiling = choose_tiling(n, m, k);
  // Where a tile spans all columns, it activates its own rows while they are about to be used.
  const bool in_tile = tiling.columns >= m;
  if (hidden && !in_tile)
    parallel_for(n * k, 16384, [&](std::int64_t begin, std::int64_t end) { apply_activation(l.activation, end - begin, x + begin, hidden + begin); });
  for_tiles(1, n, m, tiling, [&](std::int64_t, std::int64_t i, std::int64_t rows, std::int64_t j, std::int64_t columns) {
    if (hidden && in_tile) apply_activation(l.activation, rows * k, x + i * k, hidden + i * k);
    multiply_tile<T>({rows, columns, k, (hidden ? hidden : x) + i * k, k, false, w + j * k, k, true, y + i * m + j, m});
    for (std::int64_t r = i; r < i + rows && bias; ++r)
      for (std::int64_t s = j; s < j + columns; ++s) y[r * m + s] += bias[s];
  });
}

}  // namespace

Tiling choose_tiling(std::int64_t m, std::int64_t n, std::int64_t k) {
  if (m == 1) return {1, std::max<std::int64_t>(64, round_up(n / 16, 64))};
  // Time of a schedule on four cores, in multiply-adds of one: each tile multiplies, and packs its
  // rows and columns. A model, not a measurement; the constants were fitted to docs/benchmarks.md.
  constexpr double kPack = 12, kStart = 40000;
  Tiling best{m, n};
  double best_time = 0;
  for (std::int64_t down = 1; down <= 16; ++down) {
    for (std::int64_t across = 1; down * across <= 16; ++across) {
      const Tiling t{std::min(m, round_up(chunk_count(m, down), kRowStep)), std::min(n, round_up(chunk_count(n, across), kColumnStep))};
      const std::int64_t tiles = chunk_count(m, t.rows) * chunk_count(n, t.columns);
      const double one = static_cast<double>(k) * (static_cast<double>(t.rows * t.columns) + kPack * static_cast<double>(t.rows + t.columns)) + kStart;
      const double time = one * static_cast<double>(chunk_count(tiles, 4));
      if (best_time == 0 || time < best_time) {
        best = t;
        best_time = time;
      }
    }
  }
  return best;
}

void CpuBackend::gemm(const GemmArgs& g) {
  with_type(g.c, [&](auto zero) { gemm_typed<decltype(zero)>(g); });
}

void CpuBackend::linear(const LinearArgs& l) {
  with_type(l.y, [&](auto zero) { linear_typed<decltype(zero)>(l); });
}

}  // namespace muonlab::cpu

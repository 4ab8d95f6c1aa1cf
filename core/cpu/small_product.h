#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <utility>

// Products of matrices that lie in the first-level cache, such as the tiles of attention: there a
// call of the product library, which packs its operands, costs about as much as the product.
namespace muonlab::cpu {

#if defined(__AVX512F__)
inline constexpr int kVectorBytes = 64, kVectorRegisters = 32;
#elif defined(__AVX__)
inline constexpr int kVectorBytes = 32, kVectorRegisters = 16;
#else
inline constexpr int kVectorBytes = 16, kVectorRegisters = 16;
#endif

/// Elements of a vector register.
template <class T>
inline constexpr int kLanes = kVectorBytes / static_cast<int>(sizeof(T));

/// A vector register, and one in memory at any element's address.
template <class T>
struct Simd {
  typedef T Vector __attribute__((vector_size(kVectorBytes)));
  typedef T Stored __attribute__((vector_size(kVectorBytes), aligned(alignof(T)), may_alias));
};
template <class T>
typename Simd<T>::Vector load(const T* from) {
  return *reinterpret_cast<const typename Simd<T>::Stored*>(from);
}
template <class T>
void store(typename Simd<T>::Vector x, T* to) {
  *reinterpret_cast<typename Simd<T>::Stored*>(to) = x;
}

/// C = alpha A B, or C += alpha A B. A (m, k) has any strides, so it may be a transposed matrix:
/// its element (i, l) is at a + i a_row + l a_column. The rows of B (k, n) and C (m, n) are
/// contiguous.
template <class T>
struct SmallProduct {
  std::int64_t m, n, k;
  const T* a;
  std::int64_t a_row, a_column;
  const T* b;
  std::int64_t ldb;
  T* c;
  std::int64_t ldc;
  T alpha = 1;
  bool add = false;
};

namespace detail {

/// Rows of C in one tile of sums in registers: half of the registers hold sums, which is enough to
/// hide the latency of a multiply-add.
constexpr int tile_rows(int vectors) {
  return static_cast<int>(std::bit_floor(static_cast<unsigned>(kVectorRegisters / 2 / vectors)));
}

template <class T, int kRows, int kVectors>
void register_tile(const SmallProduct<T>& p, std::int64_t i, std::int64_t j) {
  using Vector = typename Simd<T>::Vector;
  Vector sum[kRows][kVectors] = {};
  const T *a = p.a + i * p.a_row, *b = p.b + j;
  for (std::int64_t l = 0; l < p.k; ++l, a += p.a_column, b += p.ldb) {
    Vector row[kVectors];
    for (int v = 0; v < kVectors; ++v) row[v] = load(b + v * kLanes<T>);
    for (int r = 0; r < kRows; ++r)
      for (int v = 0; v < kVectors; ++v) sum[r][v] += a[r * p.a_row] * row[v];
  }
  for (int r = 0; r < kRows; ++r) {
    T* c = p.c + (i + r) * p.ldc + j;
    for (int v = 0; v < kVectors; ++v, c += kLanes<T>)
      store<T>(p.add ? load(c) + p.alpha * sum[r][v] : p.alpha * sum[r][v], c);
  }
}

template <class T, int kVectors>
void register_columns(const SmallProduct<T>& p, std::int64_t j) {
  constexpr int kRows = tile_rows(kVectors);
  std::int64_t i = 0;
  for (; i + kRows <= p.m; i += kRows) register_tile<T, kRows, kVectors>(p, i, j);
  for (; i < p.m; ++i) register_tile<T, 1, kVectors>(p, i, j);
}

/// One stage of the transposition of a square of vectors: exchanges the elements off the diagonal
/// of every 2 x 2 square of squares of side kSide.
template <class T, int kSide, int... kLane>
void exchange(typename Simd<T>::Vector* rows, std::integer_sequence<int, kLane...>) {
  constexpr int kSize = kLanes<T>;
  for (int r = 0; r < kSize; ++r) {
    if (r & kSide) continue;
    const auto upper = rows[r], lower = rows[r + kSide];
    rows[r] =
        __builtin_shufflevector(upper, lower, (kLane & kSide ? kSize + kLane - kSide : kLane)...);
    rows[r + kSide] =
        __builtin_shufflevector(upper, lower, (kLane & kSide ? kSize + kLane : kLane + kSide)...);
  }
}

template <class T, int kSide = 1>
void transpose_square(typename Simd<T>::Vector* rows) {
  if constexpr (kSide < kLanes<T>) {
    exchange<T, kSide>(rows, std::make_integer_sequence<int, kLanes<T>>());
    transpose_square<T, 2 * kSide>(rows);
  }
}

}  // namespace detail

template <class T>
void multiply_small(const SmallProduct<T>& p) {
  constexpr std::int64_t kStep = kLanes<T>;
  std::int64_t j = 0;
  for (; j + 4 * kStep <= p.n; j += 4 * kStep) detail::register_columns<T, 4>(p, j);
  for (; j + 2 * kStep <= p.n; j += 2 * kStep) detail::register_columns<T, 2>(p, j);
  for (; j + kStep <= p.n; j += kStep) detail::register_columns<T, 1>(p, j);
  for (; j < p.n; ++j) {
    for (std::int64_t i = 0; i < p.m; ++i) {
      T sum = 0;
      for (std::int64_t l = 0; l < p.k; ++l)
        sum += p.a[i * p.a_row + l * p.a_column] * p.b[l * p.ldb + j];
      T& c = p.c[i * p.ldc + j];
      c = p.alpha * sum + (p.add ? c : T(0));
    }
  }
}

/// to (columns, width) = from (rows, columns) transposed; its columns from `rows` on are zero.
/// width is a multiple of kLanes.
template <class T>
void transpose_small(std::int64_t rows, std::int64_t columns, const T* from, std::int64_t ld,
                     std::int64_t width, T* to) {
  using Vector = typename Simd<T>::Vector;
  constexpr std::int64_t kStep = kLanes<T>;
  for (std::int64_t i = 0; i < width; i += kStep) {
    for (std::int64_t j = 0; j < columns; j += kStep) {
      const std::int64_t down = std::clamp<std::int64_t>(rows - i, 0, kStep);
      const std::int64_t across = std::min(kStep, columns - j);
      Vector square[kStep] = {};
      if (down == kStep && across == kStep) {
        for (int r = 0; r < kStep; ++r) square[r] = load(from + (i + r) * ld + j);
      } else {
        for (std::int64_t r = 0; r < down; ++r)
          std::memcpy(&square[r], from + (i + r) * ld + j,
                      static_cast<std::size_t>(across) * sizeof(T));
      }
      detail::transpose_square<T>(square);
      for (std::int64_t r = 0; r < across; ++r) store<T>(square[r], to + (j + r) * width + i);
    }
  }
}

}  // namespace muonlab::cpu

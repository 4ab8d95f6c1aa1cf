#pragma once

#include <algorithm>

#include "cuda/device.cuh"

// Sums down the columns of (rows, columns), in an order that the sizes alone decide: chunks of rows
// first, then the chunks one after another.
namespace muonlab::cuda {

constexpr int kColumnsPerBlock = kWarp, kStrands = 8;

/// How many rows one block sums.
inline std::int64_t rows_per_chunk(std::int64_t rows) {
  constexpr std::int64_t kFewest = 128, kMostChunks = 64;
  return std::max(kFewest, divide_up(rows, kMostChunks));
}

namespace kern {

/// partial[s][chunk][column] = sum over the chunk's rows of what term(row, column, sum) adds to
/// sum[s]. Each of the strands takes every eighth row.
template <int Sums, class Term>
__global__ void __launch_bounds__(kColumnsPerBlock* kStrands)
    column_partials(Term term, float* __restrict__ partial, std::int64_t rows, std::int64_t columns,
                    std::int64_t chunk_rows) {
  MUONLAB_SHARED(float, strands, [Sums][kStrands][kColumnsPerBlock]);
  const std::int64_t column =
      static_cast<std::int64_t>(blockIdx.x) * kColumnsPerBlock + threadIdx.x;
  const std::int64_t chunk = blockIdx.y, first = chunk * chunk_rows;
  const std::int64_t last = ::min(first + chunk_rows, rows);
  float sum[Sums] = {};
  if (column < columns)
    for (std::int64_t row = first + threadIdx.y; row < last; row += kStrands)
      term(row, column, sum);
#pragma unroll
  for (int s = 0; s < Sums; ++s) strands[s][threadIdx.y][threadIdx.x] = sum[s];
  __syncthreads();
  const int s = static_cast<int>(threadIdx.y);
  if (s >= Sums || column >= columns) return;
  float total = 0;
#pragma unroll
  for (int strand = 0; strand < kStrands; ++strand) total += strands[s][strand][threadIdx.x];
  partial[(s * static_cast<std::int64_t>(gridDim.y) + chunk) * columns + column] = total;
}

/// dst[column] = beta dst[column] + sum over the chunks.
template <class T>
__global__ void __launch_bounds__(256)
    add_column_partials(const T* __restrict__ partial, T* __restrict__ dst, T beta,
                        std::int64_t chunks, std::int64_t columns) {
  const std::int64_t column = global_index();
  if (column >= columns) return;
  T total = beta == 0 ? 0 : beta * dst[column];
  for (std::int64_t chunk = 0; chunk < chunks; ++chunk) total += partial[chunk * columns + column];
  dst[column] = total;
}

}  // namespace kern

/// Sums of one pass over a matrix, between its two stages.
template <int Sums>
class ColumnSums {
 public:
  template <class Term>
  ColumnSums(Allocator& allocator, cudaStream_t stream, Term term, std::int64_t rows,
             std::int64_t columns)
      : stream_(stream),
        columns_(columns),
        chunks_(divide_up(rows, rows_per_chunk(rows))),
        partial_(allocator, static_cast<std::size_t>(Sums * chunks_ * columns) * sizeof(float)) {
    launch(kern::column_partials<Sums, Term>,
           Grid(divide_up(columns, kColumnsPerBlock), chunks_, 1), dim3(kColumnsPerBlock, kStrands),
           0, stream, term, partial_.as<float>(), rows, columns, rows_per_chunk(rows));
  }
  /// dst = beta dst + sum number s.
  void add_to(float* dst, int s, double beta) const {
    launch(kern::add_column_partials<float>, divide_up(columns_, 256), 256, 0, stream_,
           partial_.as<float>() + s * chunks_ * columns_, dst, static_cast<float>(beta), chunks_,
           columns_);
  }

 private:
  cudaStream_t stream_;
  std::int64_t columns_, chunks_;
  Scratch partial_;
};

}  // namespace muonlab::cuda

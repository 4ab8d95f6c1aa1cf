// Sums over all elements, in f64, and down columns. Chunks of a fixed size are summed first, then
// the chunks of each tensor, so the order depends on the sizes alone.
#include <vector>

#include "cuda/columns.cuh"
#include "cuda/cuda_backend.h"
#include "cuda/device.cuh"

namespace muonlab::cuda {
namespace kern {

constexpr int kThreads = 256;
constexpr std::int64_t kChunk = 16384;  // elements

/// One tensor among those of a launch; its chunks follow those of the tensor before it.
struct Summand {
  const float* data;
  std::int64_t n, first_chunk;
};

struct Plain {
  static __device__ __forceinline__ double of(double x) { return x; }
};
struct Square {
  static __device__ __forceinline__ double of(double x) { return x * x; }
};

/// partial[chunk] = sum of Term over the elements of the chunk; a block each.
template <class Term>
__global__ void __launch_bounds__(kThreads)
    chunk_sums(const Summand* __restrict__ summands, int count, double* __restrict__ partial) {
  const std::int64_t chunk = blockIdx.x;
  // Tensors that begin at or before this chunk; it belongs to the last of them.
  int begun = 0;
  for (int first = 0; first < count; first += kThreads) {
    const int s = first + static_cast<int>(threadIdx.x);
    begun += __syncthreads_count(s < count && summands[s].first_chunk <= chunk);
  }
  const Summand x = summands[begun - 1];
  const std::int64_t begin = (chunk - x.first_chunk) * kChunk, end = ::min(begin + kChunk, x.n);
  double sum = 0;
  for (std::int64_t i = begin + threadIdx.x; i < end; i += kThreads)
    sum += Term::of(static_cast<double>(x.data[i]));
  sum = block_reduce<kThreads>(sum, Add{});
  if (threadIdx.x == 0) partial[chunk] = sum;
}

/// sums[s] = the sum of the chunks of tensor s; a block each.
__global__ void __launch_bounds__(kThreads)
    tensor_sums(const Summand* __restrict__ summands, const double* __restrict__ partial,
                double* __restrict__ sums) {
  const Summand x = summands[blockIdx.x];
  const std::int64_t chunks = (x.n + kChunk - 1) / kChunk;
  double sum = 0;
  for (std::int64_t chunk = threadIdx.x; chunk < chunks; chunk += kThreads)
    sum += partial[x.first_chunk + chunk];
  sum = block_reduce<kThreads>(sum, Add{});
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

/// The terms of plain column sums.
template <class T>
struct ColumnTerms {
  const T* src;
  std::int64_t columns;
  __device__ __forceinline__ void operator()(std::int64_t row, std::int64_t column,
                                             float (&sum)[1]) const {
    sum[0] += static_cast<float>(src[row * columns + column]);
  }
};

}  // namespace kern

template <class Term>
void CudaBackend::reduce(std::span<const Tensor> x, std::span<double> sums) {
  if (x.empty()) return;
  std::vector<kern::Summand> summands;
  std::int64_t chunks = 0;
  for (const Tensor& t : x) {
    summands.push_back({f32(t), t.numel(), chunks});
    chunks += divide_up(t.numel(), kern::kChunk);
  }
  const std::size_t table_bytes = summands.size() * sizeof(kern::Summand);
  const Scratch table(allocator(), table_bytes);
  const Scratch partial(allocator(), static_cast<std::size_t>(chunks) * sizeof(double));
  const Scratch result(allocator(), sums.size_bytes());
  const auto* device_table = table.as<kern::Summand>();
  copy_from_host(table.as<void>(), summands.data(), table_bytes);
  launch(kern::chunk_sums<Term>, chunks, kern::kThreads, 0, stream_.get(), device_table,
         static_cast<int>(summands.size()), partial.as<double>());
  launch(kern::tensor_sums, static_cast<std::int64_t>(summands.size()), kern::kThreads, 0,
         stream_.get(), device_table, partial.as<double>(), result.as<double>());
  copy_to_host(sums.data(), result.as<double>(), sums.size_bytes());
}

void CudaBackend::sum_squares(std::span<const Tensor> x, std::span<double> sums) {
  reduce<kern::Square>(x, sums);
}

double CudaBackend::sum(const Tensor& x) {
  double sum = 0;
  reduce<kern::Plain>({&x, 1}, {&sum, 1});
  return sum;
}

void CudaBackend::column_sum(const ColumnSumArgs& a) {
  const std::int64_t rows = a.src.shape().rows(), columns = a.src.shape()[-1];
  with_type(a.src, [&]<class T>(T) {
    const kern::ColumnTerms<T> terms{elements<T>(a.src), columns};
    const ColumnSums<1> sums(allocator(), stream_.get(), terms, rows, columns);
    sums.add_to(f32(a.dst), 0, a.beta);
  });
}

}  // namespace muonlab::cuda

#include "cuda/cuda_backend.h"
#include "cuda/device.cuh"

namespace muonlab::cuda {
namespace kern {

/// One block a row of y. wpe may be null.
template <class T>
__global__ void __launch_bounds__(128)
    embedding(const std::int32_t* __restrict__ ids, const float* __restrict__ wte,
              const float* __restrict__ wpe, T* __restrict__ y, std::int64_t time,
              std::int64_t columns) {
  const std::int64_t row = blockIdx.x;
  const float* token = wte + ids[row] * columns;
  const float* position = wpe ? wpe + row % time * columns : nullptr;
  for (std::int64_t i = threadIdx.x; i < columns; i += blockDim.x)
    y[row * columns + i] = static_cast<T>(token[i] + (position ? position[i] : 0.0f));
}

constexpr int kWarps = 4;  // rows of a block
constexpr int kColumnsPerLane = 4;

/// dwte[id] += the rows of dy whose id it is, in order. One warp a row: that of the first row of an
/// id sums all of them, the others have nothing to do.
template <class T>
__global__ void __launch_bounds__(kWarps* kWarp)
    embedding_backward(const std::int32_t* __restrict__ ids, const T* __restrict__ dy,
                       float* __restrict__ dwte, std::int64_t rows, std::int64_t columns) {
  const std::int64_t row = global_index() / kWarp;
  const int lane = static_cast<int>(threadIdx.x % kWarp);
  if (row >= rows) return;
  const std::int32_t id = ids[row];
  for (std::int64_t first = 0; first < row; first += kWarp) {
    const std::int64_t other = first + lane;
    if (__any_sync(kAllLanes, other < row && ids[other] == id)) return;
  }
  const std::int64_t column =
      static_cast<std::int64_t>(blockIdx.y) * kColumnsPerLane * kWarp + lane;
  float sum[kColumnsPerLane] = {};
  for (std::int64_t first = row / kWarp * kWarp; first < rows; first += kWarp) {
    const std::int64_t other = first + lane;
    unsigned same = __ballot_sync(kAllLanes, other >= row && other < rows && ids[other] == id);
    for (; same != 0; same &= same - 1) {
      const T* gradient = dy + (first + __ffs(static_cast<int>(same)) - 1) * columns;
#pragma unroll
      for (int j = 0; j < kColumnsPerLane; ++j)
        if (column + j * kWarp < columns)
          sum[j] += static_cast<float>(gradient[column + j * kWarp]);
    }
  }
#pragma unroll
  for (int j = 0; j < kColumnsPerLane; ++j)
    if (column + j * kWarp < columns) dwte[id * columns + column + j * kWarp] += sum[j];
}

/// dwpe[t] += the rows of dy at position t of each of `batch` sequences, one thread an element.
template <class T>
__global__ void __launch_bounds__(256)
    position_backward(const T* __restrict__ dy, float* __restrict__ dwpe, std::int64_t batch,
                      std::int64_t elements) {
  const std::int64_t i = global_index();
  if (i >= elements) return;
  float sum = 0;
  for (std::int64_t b = 0; b < batch; ++b) sum += static_cast<float>(dy[b * elements + i]);
  dwpe[i] += sum;
}

}  // namespace kern

void CudaBackend::embedding(const EmbeddingArgs& a) {
  const std::int64_t columns = a.wte.shape()[1];
  const float* wpe = a.wpe.defined() ? f32(a.wpe) + a.position * columns : nullptr;
  with_type(a.y, [&]<class T>(T) {
    launch(kern::embedding<T>, a.ids.numel(), 128, 0, stream_.get(), a.ids.data<std::int32_t>(),
           f32(a.wte), wpe, elements<T>(a.y), a.ids.shape()[1], columns);
  });
}

void CudaBackend::embedding_backward(const EmbeddingBackwardArgs& a) {
  const std::int64_t batch = a.ids.shape()[0], time = a.ids.shape()[1], rows = batch * time;
  const std::int64_t columns = a.dy.shape()[-1];
  if (a.dwte.defined()) {
    Tensor dwte = a.dwte;
    if (a.beta_dwte == 0) fill(dwte, 0);
    with_type(a.dy, [&]<class T>(T) {
      launch(
          kern::embedding_backward<T>,
          Grid(divide_up(rows, kern::kWarps), divide_up(columns, kern::kColumnsPerLane * kWarp), 1),
          kern::kWarps * kWarp, 0, stream_.get(), a.ids.data<std::int32_t>(), elements<T>(a.dy),
          f32(dwte), rows, columns);
    });
  }
  if (a.dwpe.defined()) {
    Tensor dwpe = a.dwpe;
    if (a.beta_dwpe == 0) fill(dwpe, 0);
    const std::int64_t n = time * columns;
    with_type(a.dy, [&]<class T>(T) {
      launch(kern::position_backward<T>, divide_up(n, 256), 256, 0, stream_.get(),
             elements<T>(a.dy), f32(dwpe) + a.position * columns, batch, n);
    });
  }
}

}  // namespace muonlab::cuda

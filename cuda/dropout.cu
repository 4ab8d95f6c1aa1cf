#include "cuda/cuda_backend.h"
#include "cuda/device.cuh"
#include "cuda/philox.cuh"

namespace muonlab::cuda {
namespace kern {

/// y = beta y + x mask / (1 - p), one thread for the four elements of a Philox block. y may be x.
template <class T>
__global__ void __launch_bounds__(256)
    dropout(const T* x, T* y, DropoutMask mask, float beta, std::int64_t n) {
  const std::int64_t block = global_index(), first = block * 4;
  if (first >= n) return;
  const Vec<std::uint32_t, 4> words = philox(mask, static_cast<std::uint64_t>(block));
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    if (first + j >= n) break;
    float value = words.v[j] < mask.limit ? 0.0f : mask.keep * static_cast<float>(x[first + j]);
    if (beta != 0) value += beta * static_cast<float>(y[first + j]);
    y[first + j] = static_cast<T>(value);
  }
}

}  // namespace kern

void CudaBackend::dropout(const DropoutArgs& a) {
  const std::int64_t n = a.x.numel();
  with_type(a.x, [&]<class T>(T) {
    launch(kern::dropout<T>, divide_up(divide_up(n, 4), 256), 256, 0, stream_.get(),
           elements<T>(a.x), elements<T>(a.y), dropout_mask(a.p, a.seed, a.stream),
           static_cast<float>(a.beta), n);
  });
}

}  // namespace muonlab::cuda

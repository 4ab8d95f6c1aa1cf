#include "cuda/cuda_backend.h"
#include "cuda/device.cuh"
#include "cuda/philox.cuh"

namespace muonlab::cuda {
namespace kern {

/// y = beta y + x mask / (1 - p), one thread for the four elements of a Philox block. y may be x.
__global__ void __launch_bounds__(256)
    dropout(const float* x, float* y, DropoutMask mask, float beta, std::int64_t n) {
  const std::int64_t block = global_index(), first = block * 4;
  if (first >= n) return;
  const Vec<std::uint32_t, 4> words = philox(mask, static_cast<std::uint64_t>(block));
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    if (first + j >= n) break;
    const float value = words.v[j] < mask.limit ? 0.0f : mask.keep * x[first + j];
    y[first + j] = beta == 0 ? value : value + beta * y[first + j];
  }
}

}  // namespace kern

void CudaBackend::dropout(const DropoutArgs& a) {
  const std::int64_t n = a.x.numel();
  launch(kern::dropout, divide_up(divide_up(n, 4), 256), 256, 0, stream_.get(), f32(a.x), f32(a.y),
         dropout_mask(a.p, a.seed, a.stream), static_cast<float>(a.beta), n);
}

}  // namespace muonlab::cuda

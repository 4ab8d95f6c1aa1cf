#include "cuda/cuda_backend.h"
#include "cuda/device.cuh"
#include "cuda/philox.cuh"

namespace muonlab::cuda {
namespace kern {

constexpr int kThreads = 256;

/// y = beta y + x mask / (1 - p). y may be x. A thread draws the four words of one Philox block,
/// and warps share theirs, so that neighbouring threads have neighbouring elements.
template <class T>
__global__ void __launch_bounds__(kThreads)
    dropout(const T* x, T* y, DropoutMask mask, float beta, std::int64_t n) {
  using Words = Vec<std::uint32_t, 4>;
  MUONLAB_SHARED(Words, words, [kThreads]);
  const std::int64_t block = global_index();
  words[threadIdx.x] = philox(mask, static_cast<std::uint64_t>(block));
  __syncwarp();
  const int lane = static_cast<int>(threadIdx.x % kWarp);
  const Words* own = words + threadIdx.x - lane;  // of the warp
  const std::int64_t first = (block - lane) * 4;
#pragma unroll
  for (int j = lane; j < 4 * kWarp; j += kWarp) {
    if (first + j >= n) break;
    const float kept =
        own[j / 4].v[j % 4] < mask.limit ? 0.0f : mask.keep * static_cast<float>(x[first + j]);
    y[first + j] =
        static_cast<T>(beta == 0 ? kept : kept + beta * static_cast<float>(y[first + j]));
  }
}

}  // namespace kern

void CudaBackend::dropout(const DropoutArgs& a) {
  const std::int64_t n = a.x.numel();
  with_type(a.x, [&]<class T>(T) {
    launch(kern::dropout<T>, divide_up(divide_up(n, 4), kern::kThreads), kern::kThreads, 0,
           stream_.get(), elements<T>(a.x), elements<T>(a.y), dropout_mask(a.p, a.seed, a.stream),
           static_cast<float>(a.beta), n);
  });
}

}  // namespace muonlab::cuda

#include "cuda/cuda_backend.h"
#include "cuda/device.cuh"

namespace muonlab::cuda {
namespace kern {

__global__ void __launch_bounds__(256)
    round_to_bf16(const float* __restrict__ x, __nv_bfloat16* __restrict__ y, std::int64_t n) {
  const std::int64_t i = global_index();
  if (i < n) y[i] = __float2bfloat16(x[i]);
}

}  // namespace kern

void CudaBackend::round_to_bf16(const Tensor& from, void* to) {
  const std::int64_t n = from.numel();
  launch(kern::round_to_bf16, divide_up(n, 256), 256, 0, stream_.get(), f32(from),
         static_cast<__nv_bfloat16*>(to), n);
}

}  // namespace muonlab::cuda

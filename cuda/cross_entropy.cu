// The formulas are those of core/cpu/cross_entropy.cpp. One block a row.
#include <cfloat>

#include "cuda/cuda_backend.h"
#include "cuda/device.cuh"

namespace muonlab::cuda {
namespace kern {

constexpr int kThreads = 128;

/// One pass over the logits: each thread keeps the maximum of what it has seen and the sum of
/// exponentials below it.
__global__ void __launch_bounds__(kThreads)
    cross_entropy(const float* __restrict__ logits, const std::int32_t* __restrict__ targets,
                  float* __restrict__ losses, float* __restrict__ lse, std::int64_t classes) {
  const std::int64_t row = blockIdx.x;
  const float* z = logits + row * classes;
  // Finite, so that a logit of -inf adds nothing. A NaN or infinite logit must reach the loss: the
  // maximum passes over a NaN, the sum does not.
  float top = -FLT_MAX, sum = 0;
  for (std::int64_t i = threadIdx.x; i < classes; i += kThreads) {
    const float x = z[i];
    if (x > top) {
      sum = sum * expf(top - x) + 1.0f;
      top = x;
    } else {
      sum += expf(x - top);
    }
  }
  const float all_top = block_reduce<kThreads>(top, Max{});
  const float all_sum = block_reduce<kThreads>(sum * expf(top - all_top), Add{});
  if (threadIdx.x != 0) return;
  const float l = all_top + logf(all_sum);
  lse[row] = l;
  losses[row] = l - z[targets[row]];
}

/// dlogits may be logits.
__global__ void __launch_bounds__(kThreads)
    cross_entropy_backward(const float* logits, const std::int32_t* __restrict__ targets,
                           const float* __restrict__ lse, float* dlogits, float scale, float beta,
                           std::int64_t classes) {
  const std::int64_t row = blockIdx.x;
  const float* z = logits + row * classes;
  float* dz = dlogits + row * classes;
  const float shift = lse[row];
  const std::int64_t target = targets[row];
  for (std::int64_t i = threadIdx.x; i < classes; i += kThreads) {
    const float value = scale * (expf(z[i] - shift) - (i == target ? 1.0f : 0.0f));
    dz[i] = beta == 0 ? value : beta * dz[i] + value;
  }
}

}  // namespace kern

void CudaBackend::cross_entropy(const CrossEntropyArgs& a) {
  launch(kern::cross_entropy, a.logits.shape().rows(), kern::kThreads, 0, stream_.get(),
         f32(a.logits), a.targets.data<std::int32_t>(), f32(a.losses), f32(a.lse),
         a.logits.shape()[-1]);
}

void CudaBackend::cross_entropy_backward(const CrossEntropyBackwardArgs& a) {
  launch(kern::cross_entropy_backward, a.logits.shape().rows(), kern::kThreads, 0, stream_.get(),
         f32(a.logits), a.targets.data<std::int32_t>(), f32(a.lse), f32(a.dlogits),
         static_cast<float>(a.scale), static_cast<float>(a.beta), a.logits.shape()[-1]);
}

}  // namespace muonlab::cuda

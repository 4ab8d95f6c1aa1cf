// The formulas are those of core/cpu/cross_entropy.cpp. One block a row.
#include <cfloat>

#include "cuda/cuda_backend.h"
#include "cuda/device.cuh"

namespace muonlab::cuda {
namespace kern {

constexpr int kThreads = 128;

/// One pass over the logits: each thread keeps the maximum of what it has seen and the sum of
/// exponentials below it.
template <class T>
__global__ void __launch_bounds__(kThreads)
    cross_entropy(const T* __restrict__ logits, const std::int32_t* __restrict__ targets,
                  float* __restrict__ losses, float* __restrict__ lse, std::int64_t classes) {
  const std::int64_t row = blockIdx.x;
  const T* z = logits + row * classes;
  // Finite, so that a logit of -inf adds nothing. A NaN or infinite logit must reach the loss: the
  // maximum passes over a NaN, the sum does not.
  float top = -FLT_MAX, sum = 0;
  for (std::int64_t i = threadIdx.x; i < classes; i += kThreads) {
    const auto x = static_cast<float>(z[i]);
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
  losses[row] = l - static_cast<float>(z[targets[row]]);
}

/// dlogits may be logits.
template <class T>
__global__ void __launch_bounds__(kThreads)
    cross_entropy_backward(const T* logits, const std::int32_t* __restrict__ targets,
                           const float* __restrict__ lse, T* dlogits, float scale, float beta,
                           std::int64_t classes) {
  const std::int64_t row = blockIdx.x;
  const T* z = logits + row * classes;
  T* dz = dlogits + row * classes;
  const float shift = lse[row];
  const std::int64_t target = targets[row];
  for (std::int64_t i = threadIdx.x; i < classes; i += kThreads) {
    const float p = expf(static_cast<float>(z[i]) - shift);
    const float value = scale * (p - (i == target ? 1.0f : 0.0f));
    dz[i] = static_cast<T>(beta == 0 ? value : beta * static_cast<float>(dz[i]) + value);
  }
}

}  // namespace kern

void CudaBackend::cross_entropy(const CrossEntropyArgs& a) {
  with_type(a.logits, [&]<class T>(T) {
    launch(kern::cross_entropy<T>, a.logits.shape().rows(), kern::kThreads, 0, stream_.get(),
           elements<T>(a.logits), a.targets.data<std::int32_t>(), f32(a.losses), f32(a.lse),
           a.logits.shape()[-1]);
  });
}

void CudaBackend::cross_entropy_backward(const CrossEntropyBackwardArgs& a) {
  with_type(a.logits, [&]<class T>(T) {
    launch(kern::cross_entropy_backward<T>, a.logits.shape().rows(), kern::kThreads, 0,
           stream_.get(), elements<T>(a.logits), a.targets.data<std::int32_t>(), f32(a.lse),
           elements<T>(a.dlogits), static_cast<float>(a.scale), static_cast<float>(a.beta),
           a.logits.shape()[-1]);
  });
}

}  // namespace muonlab::cuda

// loss_n = lse(z_n) - z_n[y_n]      dz_n = scale (softmax(z_n) - onehot(y_n))
#include <algorithm>
#include <cmath>

#include "core/cpu/cpu_backend.h"
#include "core/cpu/parallel.h"
#include "core/cpu/vector_math.h"

namespace muonlab::cpu {
namespace {

std::int64_t row_grain(std::int64_t v) {
  return std::max<std::int64_t>(1, 8192 / std::max<std::int64_t>(v, 1));
}

template <class T>
void cross_entropy_typed(const CrossEntropyArgs& a) {
  const std::int64_t n = a.logits.shape().rows(), v = a.logits.shape()[-1];
  const T* logits = a.logits.data<T>();
  const std::int32_t* targets = a.targets.data<std::int32_t>();
  Tensor losses_out = a.losses, lse_out = a.lse;
  T *losses = losses_out.data<T>(), *lse = lse_out.data<T>();
  parallel_for(n, row_grain(v), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const T* z = logits + r * v;
      T top = z[0];
#pragma omp simd reduction(max : top)
      for (std::int64_t i = 0; i < v; ++i) top = z[i] > top ? z[i] : top;
      T sum = 0;
#pragma omp simd reduction(+ : sum)
      for (std::int64_t i = 0; i < v; ++i) sum += vexp(z[i] - top);
      // A NaN or infinite logit must reach the loss: a maximum that compares may pass over a NaN,
      // the sum does not.
      lse[r] = top + std::log(sum);
      losses[r] = lse[r] - z[targets[r]];
    }
  });
}

template <class T>
void cross_entropy_backward_typed(const CrossEntropyBackwardArgs& a) {
  const std::int64_t n = a.logits.shape().rows(), v = a.logits.shape()[-1];
  const T *logits = a.logits.data<T>(), *lse = a.lse.data<T>();
  const std::int32_t* targets = a.targets.data<std::int32_t>();
  Tensor out = a.dlogits;
  T* dlogits = out.data<T>();
  const T scale = static_cast<T>(a.scale), beta = static_cast<T>(a.beta);
  parallel_for(n, row_grain(v), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const T* z = logits + r * v;
      T* dz = dlogits + r * v;
      const T shift = lse[r];
      if (beta == T(0)) {
#pragma omp simd
        for (std::int64_t i = 0; i < v; ++i) dz[i] = scale * vexp(z[i] - shift);
      } else {
#pragma omp simd
        for (std::int64_t i = 0; i < v; ++i) dz[i] = beta * dz[i] + scale * vexp(z[i] - shift);
      }
      dz[targets[r]] -= scale;
    }
  });
}

}  // namespace

void CpuBackend::cross_entropy(const CrossEntropyArgs& a) {
  with_type(a.logits, [&](auto zero) { cross_entropy_typed<decltype(zero)>(a); });
}

void CpuBackend::cross_entropy_backward(const CrossEntropyBackwardArgs& a) {
  with_type(a.logits, [&](auto zero) { cross_entropy_backward_typed<decltype(zero)>(a); });
}

}  // namespace muonlab::cpu

// The formulas are those of core/cpu/activation.h.
#include "core/error.h"
#include "cuda/cuda_backend.h"
#include "cuda/device.cuh"

namespace muonlab::cuda {
namespace kern {

/// Value and derivative at one point.
struct Activated {
  float value, slope;
};

/// The logistic function and its slope, by e^-|x|: nothing overflows, and neither tail cancels.
__device__ __forceinline__ Activated logistic(float x) {
  const float e = expf(-fabsf(x)), q = 1.0f / (1.0f + e);
  return {x < 0 ? e * q : q, e * q * q};
}

struct Identity {
  static __device__ __forceinline__ Activated at(float x) { return {x, 1.0f}; }
};
struct Gelu {
  static __device__ __forceinline__ Activated at(float x) {
    constexpr float kSqrtHalf = 0.707106781186547524f, kInvSqrt2Pi = 0.398942280401432678f;
    const float cdf = 0.5f * erfcf(-kSqrtHalf * x);
    return {x * cdf, cdf + x * kInvSqrt2Pi * expf(-0.5f * x * x)};
  }
};
struct GeluTanh {
  static __device__ __forceinline__ Activated at(float x) {
    constexpr float kScale = 2 * 0.797884560802865356f, kCubic = 0.044715f;
    const Activated s = logistic(kScale * (x + kCubic * x * x * x));
    return {x * s.value, s.value + x * s.slope * kScale * (1.0f + 3 * kCubic * x * x)};
  }
};
// A NaN passes on: it must reach the loss.
struct Relu {
  static __device__ __forceinline__ Activated at(float x) {
    return {x < 0 ? 0.0f : x, x > 0 ? 1.0f : 0.0f};
  }
};
struct ReluSquared {
  static __device__ __forceinline__ Activated at(float x) {
    const float r = x < 0 ? 0.0f : x;
    return {r * r, 2 * r};
  }
};
struct Silu {
  static __device__ __forceinline__ Activated at(float x) {
    const Activated s = logistic(x);
    return {x * s.value, s.value + x * s.slope};
  }
};

template <class Act, class T>
__global__ void __launch_bounds__(256) activation(const T* x, T* y, std::int64_t n) {
  const std::int64_t i = global_index();
  if (i < n) y[i] = static_cast<T>(Act::at(static_cast<float>(x[i])).value);
}

/// y may be null.
template <class Act, class T>
__global__ void __launch_bounds__(256)
    activation_backward(const T* x, const T* dy, T* dx, T* y, float beta, std::int64_t n) {
  const std::int64_t i = global_index();
  if (i >= n) return;
  const Activated at = Act::at(static_cast<float>(x[i]));
  float gradient = static_cast<float>(dy[i]) * at.slope;
  if (beta != 0) gradient += beta * static_cast<float>(dx[i]);
  if (y) y[i] = static_cast<T>(at.value);
  dx[i] = static_cast<T>(gradient);
}

}  // namespace kern

namespace {

/// Calls f with the activation as a type, and a zero of the type of the elements.
template <class F>
void with_variant(Activation kind, const Tensor& x, const F& f) {
  with_type(x, [&](auto zero) {
    switch (kind) {
      case Activation::none:
        return f(kern::Identity{}, zero);
      case Activation::gelu:
        return f(kern::Gelu{}, zero);
      case Activation::gelu_tanh:
        return f(kern::GeluTanh{}, zero);
      case Activation::relu:
        return f(kern::Relu{}, zero);
      case Activation::relu_squared:
        return f(kern::ReluSquared{}, zero);
      case Activation::silu:
        return f(kern::Silu{}, zero);
    }
  });
}

}  // namespace

void CudaBackend::activation(const ActivationArgs& a) {
  const std::int64_t n = a.x.numel();
  with_variant(a.kind, a.x, [&]<class Act, class T>(Act, T) {
    launch(kern::activation<Act, T>, divide_up(n, 256), 256, 0, stream_.get(), elements<T>(a.x),
           elements<T>(a.y), n);
  });
}

void CudaBackend::activation_backward(const ActivationBackwardArgs& a) {
  const std::int64_t n = a.x.numel();
  with_variant(a.kind, a.x, [&]<class Act, class T>(Act, T) {
    launch(kern::activation_backward<Act, T>, divide_up(n, 256), 256, 0, stream_.get(),
           elements<T>(a.x), elements<T>(a.dy), elements<T>(a.dx), elements<T>(a.y),
           static_cast<float>(a.beta), n);
  });
}

}  // namespace muonlab::cuda

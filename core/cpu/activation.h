#pragma once

#include <cstdint>
#include <numbers>

#include "core/backend.h"
#include "core/cpu/vector_math.h"

// The scalar activations, shared by the elementwise kernels and the epilogue of a product.
//   gelu          x Phi(x)                                        Hendrycks, Gimpel 2016, section 2
//   gelu_tanh     x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))   same, section 2
//   relu          max(x, 0)
//   relu_squared  max(x, 0)^2                                     So et al. 2021
//   silu          x sigmoid(x)
namespace muonlab::cpu {

/// Value and derivative at one point; what they have in common is computed once.
template <class T>
struct Activated {
  T value, slope;
};

template <class T>
struct Gelu {
  static Activated<T> at(T x) {
    const Normal<T> n = vnormal(x);
    return {x * n.cdf, n.cdf + x * n.density};
  }
};

/// With (1 + tanh u) / 2 = logistic(2 u).
template <class T>
struct GeluTanh {
  static Activated<T> at(T x) {
    constexpr T kScale = static_cast<T>(2 * 0.797884560802865355879892119869);  // 2 sqrt(2/pi)
    constexpr T kCubic = static_cast<T>(0.044715);
    const Logistic<T> s = vlogistic(kScale * (x + kCubic * x * x * x));
    return {x * s.value, s.value + x * s.slope * kScale * (T(1) + 3 * kCubic * x * x)};
  }
};

// A NaN passes on: it must reach the loss.
template <class T>
struct Relu {
  static Activated<T> at(T x) { return {x < T(0) ? T(0) : x, x > T(0) ? T(1) : T(0)}; }
};

template <class T>
struct ReluSquared {
  static Activated<T> at(T x) {
    const T r = x < T(0) ? T(0) : x;
    return {r * r, 2 * r};
  }
};

template <class T>
struct Silu {
  static Activated<T> at(T x) {
    const Logistic<T> s = vlogistic(x);
    return {x * s.value, s.value + x * s.slope};
  }
};

template <class T>
struct Identity {
  static Activated<T> at(T x) { return {x, T(1)}; }
};

/// Calls f with the activation as a type, so that the loop inside it is compiled for each.
template <class T, class F>
void with_activation(Activation kind, const F& f) {
  switch (kind) {
    case Activation::none:
      return f(Identity<T>{});
    case Activation::gelu:
      return f(Gelu<T>{});
    case Activation::gelu_tanh:
      return f(GeluTanh<T>{});
    case Activation::relu:
      return f(Relu<T>{});
    case Activation::relu_squared:
      return f(ReluSquared<T>{});
    case Activation::silu:
      return f(Silu<T>{});
  }
}

/// y[i] = act(x[i]) for i < n.
template <class T>
void apply_activation(Activation kind, std::int64_t n, const T* x, T* y) {
  with_activation<T>(kind, [&](auto act) {
    for (std::int64_t i = 0; i < n; ++i) y[i] = act.at(x[i]).value;
  });
}

}  // namespace muonlab::cpu

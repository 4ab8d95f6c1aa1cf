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

template <class T>
struct Gelu {
  static T value(T x) { return x * vnormal(x).cdf; }
  static T slope(T x) {
    const Normal<T> n = vnormal(x);
    return n.cdf + x * n.density;
  }
};

template <class T>
struct GeluTanh {
  static constexpr T kScale = static_cast<T>(0.797884560802865355879892119869);  // sqrt(2/pi)
  static constexpr T kCubic = static_cast<T>(0.044715);
  static T value(T x) { return T(0.5) * x * (T(1) + vtanh(kScale * (x + kCubic * x * x * x))); }
  static T slope(T x) {
    const T t = vtanh(kScale * (x + kCubic * x * x * x));
    return T(0.5) * (T(1) + t) + T(0.5) * x * (T(1) - t * t) * kScale * (T(1) + 3 * kCubic * x * x);
  }
};

template <class T>
struct Relu {
  static T value(T x) { return x > T(0) ? x : T(0); }
  static T slope(T x) { return x > T(0) ? T(1) : T(0); }
};

template <class T>
struct ReluSquared {
  static T value(T x) { return x > T(0) ? x * x : T(0); }
  static T slope(T x) { return x > T(0) ? 2 * x : T(0); }
};

template <class T>
struct Silu {
  static T value(T x) { return x * vsigmoid(x); }
  static T slope(T x) {
    const T s = vsigmoid(x);
    return s * (T(1) + x * (T(1) - s));
  }
};

template <class T>
struct Identity {
  static T value(T x) { return x; }
  static T slope(T) { return T(1); }
};

/// Calls f with the activation as a type, so that the loop inside it is compiled for each.
template <class T, class F>
void with_activation(Activation kind, const F& f) {
  switch (kind) {
    case Activation::none: return f(Identity<T>{});
    case Activation::gelu: return f(Gelu<T>{});
    case Activation::gelu_tanh: return f(GeluTanh<T>{});
    case Activation::relu: return f(Relu<T>{});
    case Activation::relu_squared: return f(ReluSquared<T>{});
    case Activation::silu: return f(Silu<T>{});
  }
}

/// y[i] = act(x[i]) for i < n.
template <class T>
void apply_activation(Activation kind, std::int64_t n, const T* x, T* y) {
  with_activation<T>(kind, [&](auto act) {
    for (std::int64_t i = 0; i < n; ++i) y[i] = act.value(x[i]);
  });
}

}  // namespace muonlab::cpu

#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numbers>

// Elementary functions without branches, so that loops over them vectorise without -ffast-math. The
// float forms are own polynomial approximations with their errors stated; the double forms, which
// only tests use, are the standard library's.
namespace muonlab::cpu {

/// e^x, relative error below 2e-7. Below -87.3: 0. Above 88.37, where 2^n of the reduction leaves
/// the range of float: infinity. NaN stays NaN.
inline float vexp(float x) {
  constexpr float kLow = -87.3f, kHigh = 88.37f;
  constexpr float kRound =
      0x1.8p23f;  // adding it leaves the nearest integer in the low mantissa bits
  const float clamped = x < kLow ? kLow : (x > kHigh ? kHigh : x);
  // x = n ln 2 + r, |r| <= ln 2 / 2; ln 2 in two parts, the first short enough to make n * part
  // exact.
  const float shifted = clamped * std::numbers::log2e_v<float> + kRound;
  const float n = shifted - kRound;
  const float r = (clamped - n * 0x1.62e4p-1f) - n * 0x1.7f7d1cp-20f;
  // Taylor series of e^r to r^7 / 7!; remainder below 6e-9 at |r| = 0.35.
  float p = 1.0f / 5040;
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const auto scale =
      std::bit_cast<float>((std::bit_cast<std::int32_t>(shifted) << 23) + 0x3f800000);
  const float y = p * scale;
  return x < kLow ? 0.0f : (x > kHigh ? std::numeric_limits<float>::infinity() : y);
}
inline double vexp(double x) { return std::exp(x); }

/// The logistic function s(x) = 1 / (1 + e^-x) and its slope s (1 - s), relative error of both
/// below 6e-7. Written with e^-|x|, so that nothing overflows and neither tail cancels.
template <class T>
struct Logistic {
  T value, slope;
};
template <class T>
Logistic<T> vlogistic(T x) {
  const T e = vexp(-std::fabs(x));
  const T q = T(1) / (T(1) + e);
  return {x < T(0) ? e * q : q, e * q * q};
}

/// The standard normal distribution: cdf Phi(x) and density phi(x).
template <class T>
struct Normal {
  T cdf, density;
};

/// Absolute error of the cdf below 2.5e-7; relative error of the lower tail below 1e-6 down to -5.
/// With t = 1/(1 + p |x|/sqrt 2): erfc(z) e^(z^2) = t P(t) on [0, 9.5], P a polynomial of degree 7
/// fitted for this project to a relative error of 1.2e-7.
inline Normal<float> vnormal(float x) {
  const float z = std::fabs(x);
  const float e = vexp(-0.5f * x * x);
  const float t = 1.0f / (1.0f + 0.425f * (std::numbers::sqrt2_v<float> / 2) * z);
  float p = 0.07218389213085175f;
  p = p * t - 0.31609711050987244f;
  p = p * t + 0.41268450021743774f;
  p = p * t - 0.10791592299938202f;
  p = p * t + 0.25755587220191956f;
  p = p * t + 0.19995710253715515f;
  p = p * t + 0.24196076393127441f;
  p = p * t + 0.2396707832813263f;
  const float tail = 0.5f * t * p * e;
  constexpr float kInvSqrt2Pi = 0.398942280401432678f;
  return {x < 0.0f ? tail : 1.0f - tail, kInvSqrt2Pi * e};
}
inline Normal<double> vnormal(double x) {
  return {0.5 * std::erfc(-x / std::numbers::sqrt2),
          std::exp(-0.5 * x * x) / std::sqrt(2 * std::numbers::pi)};
}

}  // namespace muonlab::cpu

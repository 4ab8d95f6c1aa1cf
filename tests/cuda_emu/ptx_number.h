#pragma once

#include <algorithm>
#include <bit>
#include <cfenv>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "tests/cuda_emu/ptx_module.h"

// The number types of PTX that C++ lacks, and rounding to any of them in any mode.
namespace muonlab::ptx {

/// A floating point format in the low bits of an integer: sign, exponent, fraction, as IEEE 754.
template <class Bits, int kExponentBits, int kFractionBits>
struct Float {
  using Storage = Bits;
  static constexpr int kFraction = kFractionBits;
  static constexpr int kBias = (1 << (kExponentBits - 1)) - 1;
  static constexpr int kLowest = 1 - kBias;  ///< exponent of the smallest normal number
  static constexpr Bits kSign = Bits{1} << (kExponentBits + kFractionBits);
  static constexpr Bits kInfinity = static_cast<Bits>(((1u << kExponentBits) - 1) << kFractionBits);
  static constexpr Bits kNan = static_cast<Bits>(kSign - 1);  ///< the one that PTX makes
  Bits bits;
};
using F16 = Float<std::uint16_t, 5, 10>;
using Bf16 = Float<std::uint16_t, 8, 7>;
/// f32 with 10 bits of fraction; the other 13 of the register are zero. Here without these.
using Tf32 = Float<std::uint32_t, 8, 10>;
/// As a target of `narrow` only.
using F32 = Float<std::uint32_t, 8, 23>;

template <class T>
inline constexpr bool kIsHalf = std::is_same_v<T, F16> || std::is_same_v<T, Bf16>;

/// Two of them in one register: the first in the low half.
template <class T>
struct Packed {
  T low, high;
};

/// Exact.
template <class T>
double widen(T x) {
  const int exponent = (x.bits & T::kInfinity) >> T::kFraction;
  const auto fraction = static_cast<double>(x.bits & ((1u << T::kFraction) - 1));
  double out;
  if ((x.bits & T::kInfinity) == T::kInfinity) {
    out = fraction != 0 ? std::numeric_limits<double>::quiet_NaN()
                        : std::numeric_limits<double>::infinity();
  } else if (exponent == 0) {
    out = std::ldexp(fraction, T::kLowest - T::kFraction);
  } else {
    out = std::ldexp(fraction + (1u << T::kFraction), exponent - T::kBias - T::kFraction);
  }
  return x.bits & T::kSign ? -out : out;
}

/// An integer from a number >= 0 that is less than 2^52.
inline std::uint64_t round_magnitude(double x, bool negative, Rounding rounding) {
  const double whole = std::floor(x), rest = x - whole;
  const auto integer = static_cast<std::uint64_t>(whole);
  bool up = false;
  switch (rounding) {
    case Rounding::kNearestEven:
      up = rest > 0.5 || (rest == 0.5 && integer % 2 == 1);
      break;
    case Rounding::kNearestAway:
      up = rest >= 0.5;
      break;
    case Rounding::kZero:
      break;
    case Rounding::kDown:
      up = negative && rest > 0;
      break;
    case Rounding::kUp:
      up = !negative && rest > 0;
      break;
  }
  return integer + up;
}

/// The number in format T for one that is exact, or was rounded to odd (below).
template <class T>
T narrow(double x, Rounding rounding, bool satfinite = false) {
  using Bits = typename T::Storage;
  if (std::isnan(x)) return {T::kNan};
  const bool negative = std::signbit(x);
  const Bits sign = negative ? T::kSign : Bits{0};
  const double magnitude = std::fabs(x);
  std::uint64_t bits = T::kInfinity;
  if (!std::isinf(x)) {
    const int exponent = magnitude == 0 ? T::kLowest : std::max(std::ilogb(magnitude), T::kLowest);
    // In units of the last place; the hidden bit of a normal number counts as one exponent.
    bits = round_magnitude(std::ldexp(magnitude, T::kFraction - exponent), negative, rounding);
    bits += static_cast<std::uint64_t>(exponent - T::kLowest) << T::kFraction;
    if (exponent > T::kBias) bits = T::kInfinity;
    if (bits >= T::kInfinity) {
      const bool toward_zero =
          rounding == Rounding::kZero || rounding == (negative ? Rounding::kUp : Rounding::kDown);
      bits = toward_zero ? T::kInfinity - 1u : T::kInfinity;
    }
  }
  if (satfinite && bits == T::kInfinity) bits = T::kInfinity - 1u;
  return {static_cast<Bits>(sign | static_cast<Bits>(bits))};
}

/// a + b, rounded to odd: if it is not exact, the last bit of the nearer-to-zero neighbour is set.
/// Rounding that once more, to two bits less or fewer, is as good as rounding the exact sum
/// (Boldo and Melquiond 2008, "Emulation of a FMA and correctly rounded sums").
inline double add_to_odd(double a, double b) {
  const double sum = a + b;
  if (!std::isfinite(sum)) return sum;
  const double b_part = sum - a;
  const double error = (a - (sum - b_part)) + (b - b_part);  // Knuth's TwoSum: exact
  auto bits = std::bit_cast<std::uint64_t>(sum);
  if (error == 0 || bits % 2 == 1) return sum;
  bits += (error > 0) == (sum > 0) ? 1 : std::uint64_t(-1);
  return std::bit_cast<double>(bits);
}
/// Any integer as a double, rounded to odd.
template <class T>
double integer_to_odd(T x) {
  using Wide = std::conditional_t<std::is_signed_v<T>, std::int64_t, std::uint64_t>;
  const auto low = static_cast<std::uint32_t>(x);
  return add_to_odd(static_cast<double>(Wide{x} - static_cast<Wide>(low)), low);
}

/// x, read where the compiler cannot move it: it takes arithmetic for independent of the mode.
template <class T>
T pinned(T x) {
  volatile T copy = x;
  return copy;
}
/// f(arguments...) of float or double in a rounding mode.
template <class F, class... T>
auto in_rounding(Rounding rounding, F f, T... arguments) {
  if (rounding == Rounding::kNearestEven) return f(arguments...);
  const int mode = rounding == Rounding::kZero   ? FE_TOWARDZERO
                   : rounding == Rounding::kDown ? FE_DOWNWARD
                                                 : FE_UPWARD;
  std::fesetround(mode);
  const auto result = pinned(f(pinned(arguments)...));
  std::fesetround(FE_TONEAREST);
  return result;
}

/// x rounded to a whole number.
template <class T>
T to_whole(T x, Rounding rounding) {
  switch (rounding) {
    case Rounding::kZero:
      return std::trunc(x);
    case Rounding::kDown:
      return std::floor(x);
    case Rounding::kUp:
      return std::ceil(x);
    case Rounding::kNearestAway:
      return std::round(x);
    case Rounding::kNearestEven:
      break;
  }
  return std::nearbyint(x);
}

}  // namespace muonlab::ptx

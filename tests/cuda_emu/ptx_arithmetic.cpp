// Arithmetic, logic and comparison. Semantics: NVIDIA, "Parallel Thread Execution ISA", chapter 9.
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "tests/cuda_emu/ptx_handlers.h"

namespace muonlab::ptx {
namespace {

template <class T>
using Unsigned = std::make_unsigned_t<T>;
template <class T>
constexpr int kBits = static_cast<int>(sizeof(T) * 8);
__extension__ using Int128 = __int128;
__extension__ using Uint128 = unsigned __int128;
/// Holds any product of two T.
template <class T>
using Double =
    std::conditional_t<sizeof(T) == 8, std::conditional_t<std::is_signed_v<T>, Int128, Uint128>,
                       std::conditional_t<std::is_signed_v<T>, std::int64_t, std::uint64_t>>;

template <class T, class Wide>
T clamped(Wide x) {
  constexpr Wide kLow = std::numeric_limits<T>::min(), kHigh = std::numeric_limits<T>::max();
  return static_cast<T>(std::min(std::max(x, kLow), kHigh));
}

/// a b + c with a single rounding.
template <Half T>
T fused(T a, T b, T c) {
  // The product of two halves is exact in double.
  return narrow<T>(add_to_odd(widen(a) * widen(b), widen(c)), Rounding::kNearestEven);
}
template <Half T>
constexpr T kOne = {static_cast<typename T::Storage>(T::kBias << T::kFraction)};
template <Half T>
constexpr T kMinusZero = {T::kSign};

template <Half T>
T negated(T x) {
  return {static_cast<typename T::Storage>(x.bits ^ T::kSign)};
}

// ---- Sums and products

struct Add {
  static constexpr bool kSaturatesIntegers = true;
  template <Integer T>
  T operator()(const Instruction& i, T a, T b) const {
    if (i.sat) return clamped<T>(Double<T>{a} + b);
    return static_cast<T>(static_cast<Unsigned<T>>(a) + static_cast<Unsigned<T>>(b));
  }
  template <Binary T>
  T operator()(const Instruction& i, T a, T b) const {
    return in_rounding(
        i.rounding, [](T x, T y) { return x + y; }, a, b);
  }
  template <Half T>
  T operator()(const Instruction&, T a, T b) const {
    return fused(a, kOne<T>, b);
  }
};
struct Sub {
  static constexpr bool kSaturatesIntegers = true;
  template <Integer T>
  T operator()(const Instruction& i, T a, T b) const {
    if (i.sat) return clamped<T>(Double<T>{a} - b);
    return static_cast<T>(static_cast<Unsigned<T>>(a) - static_cast<Unsigned<T>>(b));
  }
  template <Binary T>
  T operator()(const Instruction& i, T a, T b) const {
    return in_rounding(
        i.rounding, [](T x, T y) { return x - y; }, a, b);
  }
  template <Half T>
  T operator()(const Instruction&, T a, T b) const {
    return fused(a, kOne<T>, negated(b));
  }
};
/// .lo and .hi of integers; .wide has another type of result (below).
struct Mul {
  template <Integer T>
  T operator()(const Instruction& i, T a, T b) const {
    const Double<T> product = Double<T>{a} * b;
    return static_cast<T>(i.variant == "hi" ? product >> kBits<T> : product);
  }
  template <Binary T>
  T operator()(const Instruction& i, T a, T b) const {
    return in_rounding(
        i.rounding, [](T x, T y) { return x * y; }, a, b);
  }
  template <Half T>
  T operator()(const Instruction&, T a, T b) const {
    return fused(a, b, kMinusZero<T>);
  }
};
struct Fma {
  template <Binary T>
  T operator()(const Instruction& i, T a, T b, T c) const {
    return in_rounding(
        i.rounding, [](T x, T y, T z) { return std::fma(x, y, z); }, a, b, c);
  }
  template <Half T>
  T operator()(const Instruction&, T a, T b, T c) const {
    return fused(a, b, c);
  }
};
struct Mad : Fma {
  static constexpr bool kSaturatesIntegers = true;
  using Fma::operator();
  template <Integer T>
  T operator()(const Instruction& i, T a, T b, T c) const {
    const Double<T> product = Double<T>{a} * b;
    if (i.sat) return clamped<T>((product >> kBits<T>)+c);
    const T part = static_cast<T>(i.variant == "hi" ? product >> kBits<T> : product);
    return static_cast<T>(static_cast<Unsigned<T>>(part) + static_cast<Unsigned<T>>(c));
  }
};

template <class T, bool kMad>
void multiply_wide(Thread& t, const Instruction& i) {
  // s16 and u16 to 32 bits, s32 and u32 to 64.
  using Wide =
      std::conditional_t<sizeof(T) == 2,
                         std::conditional_t<std::is_signed_v<T>, std::int32_t, std::uint32_t>,
                         std::conditional_t<std::is_signed_v<T>, std::int64_t, std::uint64_t>>;
  using Bits = Unsigned<Wide>;
  Bits result = static_cast<Bits>(Wide{t.get<T>(i, 1)}) * static_cast<Bits>(Wide{t.get<T>(i, 2)});
  if constexpr (kMad) result += t.get<Bits>(i, 3);
  t.set(i, result);
}
template <bool kMad>
Handler choose_wide(const Instruction& i) {
  return with_type(i.type, []<class T>(std::type_identity<T>) -> Handler {
    if constexpr (Integer<T> && (sizeof(T) == 2 || sizeof(T) == 4)) return &multiply_wide<T, kMad>;
    return nullptr;
  });
}

/// add.cc and addc: sums that hand a carry on. `kSubtract`: sub.cc and subc, whose carry is a
/// borrow.
template <class T, bool kSubtract, bool kCarryIn>
void add_carry(Thread& t, const Instruction& i) {
  const T a = t.get<T>(i, 1), b = t.get<T>(i, 2), in = kCarryIn && t.carry;
  const Uint128 sum = kSubtract ? Uint128{a} - b - in : Uint128{a} + b + in;
  if (i.carry_out) t.carry = (sum >> kBits<T>) != 0;
  t.set(i, static_cast<T>(sum));
}
template <class T, bool kCarryIn>
void multiply_add_carry(Thread& t, const Instruction& i) {
  // Only the carry of the sum counts; that is the same for signed numbers.
  const T part = Mul{}(i, t.get<T>(i, 1), t.get<T>(i, 2));
  const Uint128 sum =
      Uint128{static_cast<Unsigned<T>>(part)} + t.get<Unsigned<T>>(i, 3) + (kCarryIn && t.carry);
  if (i.carry_out) t.carry = (sum >> kBits<T>) != 0;
  t.set(i, static_cast<Unsigned<T>>(sum));
}
template <bool kSubtract, bool kCarryIn>
Handler choose_add_carry(const Instruction& i) {
  return with_type(i.type, []<class T>(std::type_identity<T>) -> Handler {
    if constexpr (Integer<T> && sizeof(T) >= 4) {
      return &add_carry<Unsigned<T>, kSubtract, kCarryIn>;
    }
    return nullptr;
  });
}
template <bool kCarryIn>
Handler choose_mad_carry(const Instruction& i) {
  if (i.variant == "wide") return nullptr;
  return with_type(i.type, []<class T>(std::type_identity<T>) -> Handler {
    if constexpr (Integer<T> && sizeof(T) >= 4) return &multiply_add_carry<T, kCarryIn>;
    return nullptr;
  });
}

Handler choose_add(const Instruction& i) {
  return i.carry_out ? choose_add_carry<false, false>(i) : choose<Add, 2>(i);
}
Handler choose_sub(const Instruction& i) {
  return i.carry_out ? choose_add_carry<true, false>(i) : choose<Sub, 2>(i);
}
Handler choose_mul(const Instruction& i) {
  if (i.variant == "wide") return choose_wide<false>(i);
  return choose<Mul, 2>(i);
}
Handler choose_mad(const Instruction& i) {
  if (i.variant == "wide") return i.sat ? nullptr : choose_wide<true>(i);
  if (i.carry_out) return choose_mad_carry<false>(i);
  return choose<Mad, 3>(i);
}

/// The product of the low 24 bits; .hi are bits 16 to 47 of it.
struct Mul24 {
  template <Integer T>
  requires(sizeof(T) == 4) T operator()(const Instruction& i, T a, T b) const {
    const auto low = [](T x) {
      return std::int64_t{static_cast<T>(static_cast<Unsigned<T>>(x) << 8)} >> 8;
    };
    const std::int64_t product = low(a) * low(b);
    return static_cast<T>(i.variant == "hi" ? product >> 16 : product);
  }
};
struct Mad24 {
  template <Integer T>
  requires(sizeof(T) == 4) T operator()(const Instruction& i, T a, T b, T c) const {
    return static_cast<T>(static_cast<std::uint32_t>(Mul24{}(i, a, b)) +
                          static_cast<std::uint32_t>(c));
  }
};
struct Sad {
  template <Integer T>
  T operator()(const Instruction&, T a, T b, T c) const {
    const auto x = static_cast<Unsigned<T>>(a), y = static_cast<Unsigned<T>>(b);
    const auto distance = a < b ? y - x : x - y;
    return static_cast<T>(static_cast<Unsigned<T>>(c) + distance);
  }
};

struct Div {
  template <Integer T>
  T operator()(const Instruction&, T a, T b) const {
    // What the hardware returns for these; PTX leaves it open.
    if (b == 0) return static_cast<T>(-1);
    if (std::is_signed_v<T> && b == static_cast<T>(-1)) {
      return static_cast<T>(Unsigned<T>{0} - static_cast<Unsigned<T>>(a));
    }
    return static_cast<T>(a / b);
  }
  template <Binary T>
  T operator()(const Instruction& i, T a, T b) const {
    return in_rounding(
        i.rounding, [](T x, T y) { return x / y; }, a, b);
  }
};
struct Rem {
  template <Integer T>
  T operator()(const Instruction&, T a, T b) const {
    if (b == 0) return a;
    if (std::is_signed_v<T> && b == static_cast<T>(-1)) return 0;
    return static_cast<T>(a % b);
  }
};

struct Abs {
  template <Integer T>
  T operator()(const Instruction&, T a) const {
    return a < T{0} ? static_cast<T>(Unsigned<T>{0} - static_cast<Unsigned<T>>(a)) : a;
  }
  template <Binary T>
  T operator()(const Instruction&, T a) const {
    return std::fabs(a);
  }
  template <Half T>
  T operator()(const Instruction&, T a) const {
    return {static_cast<typename T::Storage>(a.bits & ~T::kSign)};
  }
};
struct Neg {
  template <Integer T>
  T operator()(const Instruction&, T a) const {
    return static_cast<T>(Unsigned<T>{0} - static_cast<Unsigned<T>>(a));
  }
  template <Binary T>
  T operator()(const Instruction&, T a) const {
    return -a;
  }
  template <Half T>
  T operator()(const Instruction&, T a) const {
    return negated(a);
  }
};

/// Of a number and a NaN the number, unless .NaN; -0 is less than +0.
template <bool kMax>
struct Extreme {
  template <Integer T>
  T operator()(const Instruction&, T a, T b) const {
    return (a < b) == kMax ? b : a;
  }
  template <Binary T>
  T operator()(const Instruction& i, T a, T b) const {
    if (std::isnan(a) || std::isnan(b)) {
      if (i.propagate_nan) return std::numeric_limits<T>::quiet_NaN();
      return std::isnan(a) ? b : a;
    }
    const bool less = a < b || (a == b && std::signbit(a));
    return less == kMax ? b : a;
  }
  template <Half T>
  T operator()(const Instruction& i, T a, T b) const {
    return narrow<T>((*this)(i, widen(a), widen(b)), Rounding::kNearestEven);
  }
};

// ---- Functions of one number. The approximate ones are exact here, which no test may rely on.

struct Rcp {
  template <Binary T>
  T operator()(const Instruction& i, T a) const {
    return in_rounding(
        i.rounding, [](T x) { return 1 / x; }, a);
  }
};
struct Sqrt {
  template <Binary T>
  T operator()(const Instruction& i, T a) const {
    return in_rounding(
        i.rounding, [](T x) { return std::sqrt(x); }, a);
  }
};
/// A function of double, for the formats that the instruction has.
template <double (*kFunction)(double), bool kHalf = false>
struct Exact {
  template <Binary T>
  T operator()(const Instruction&, T a) const {
    return static_cast<T>(kFunction(a));
  }
  template <Half T>
  requires kHalf T operator()(const Instruction&, T a) const {
    return narrow<T>(kFunction(widen(a)), Rounding::kNearestEven);
  }
};
double reciprocal_root(double x) { return 1 / std::sqrt(x); }
double sine(double x) { return std::sin(x); }
double cosine(double x) { return std::cos(x); }
double binary_logarithm(double x) { return std::log2(x); }
double binary_power(double x) { return std::exp2(x); }
double hyperbolic_tangent(double x) { return std::tanh(x); }

/// The sign of a with the magnitude of b.
struct Copysign {
  template <Binary T>
  T operator()(const Instruction&, T a, T b) const {
    return std::copysign(b, a);
  }
};

template <class T, auto kTest>
void test_number(Thread& t, const Instruction& i) {
  t.set(i, kTest(t.get<T>(i, 1)));
}
Handler choose_test(const Instruction& i) {
  return with_type(i.type, [&]<class T>(std::type_identity<T>) -> Handler {
    if constexpr (Binary<T>) {
      if (i.variant == "finite") return &test_number<T, [](T x) { return std::isfinite(x); }>;
      if (i.variant == "infinite") return &test_number<T, [](T x) { return std::isinf(x); }>;
      if (i.variant == "number") return &test_number<T, [](T x) { return !std::isnan(x); }>;
      if (i.variant == "notanumber") return &test_number<T, [](T x) { return std::isnan(x); }>;
      if (i.variant == "normal") return &test_number<T, [](T x) { return std::isnormal(x); }>;
      return &test_number<T, [](T x) { return std::fpclassify(x) == FP_SUBNORMAL; }>;
    }
    return nullptr;
  });
}

// ---- Bits

template <class Function>
struct Logic {
  template <class T>
  requires std::unsigned_integral<T> T operator()(const Instruction&, T a, T b) const {
    return static_cast<T>(Function{}(a, b));
  }
};
struct Not {
  template <class T>
  requires std::unsigned_integral<T> T operator()(const Instruction&, T a) const {
    if constexpr (std::is_same_v<T, bool>) {
      return !a;
    } else {
      return static_cast<T>(~a);
    }
  }
};
struct Cnot {
  template <Integer T>
  T operator()(const Instruction&, T a) const {
    return a == 0;
  }
};
/// kTable: bit 4a + 2b + c is what comes of bits a, b and c.
void lop3(Thread& t, const Instruction& i) {
  const auto a = t.get<std::uint32_t>(i, 1), b = t.get<std::uint32_t>(i, 2),
             c = t.get<std::uint32_t>(i, 3), table = t.get<std::uint32_t>(i, 4);
  std::uint32_t result = 0;
  for (unsigned k = 0; k < 8; ++k) {
    if (table >> k & 1) result |= (k & 4 ? a : ~a) & (k & 2 ? b : ~b) & (k & 1 ? c : ~c);
  }
  t.set(i, result);
}

/// Shifts: the count has 32 bits, and may be any.
template <class T, bool kLeft>
void shift(Thread& t, const Instruction& i) {
  const T a = t.get<T>(i, 1);
  const auto count = t.get<std::uint32_t>(i, 2);
  const bool beyond = count >= static_cast<std::uint32_t>(kBits<T>);
  T result;
  if constexpr (kLeft) {
    result = beyond ? T{0} : static_cast<T>(Unsigned<T>(a) << count);
  } else {
    result = static_cast<T>(beyond ? (a < T{0} ? T(-1) : T{0}) : T(a >> count));
  }
  t.set(i, result);
}
template <bool kLeft>
Handler choose_shift(const Instruction& i) {
  return with_type(i.type, []<class T>(std::type_identity<T>) -> Handler {
    if constexpr (Integer<T> && sizeof(T) >= 2) return &shift<T, kLeft>;
    return nullptr;
  });
}
/// shf: 32 bits out of b:a.
template <bool kLeft, bool kClamp>
void funnel_shift(Thread& t, const Instruction& i) {
  const std::uint64_t both =
      std::uint64_t{t.get<std::uint32_t>(i, 2)} << 32 | t.get<std::uint32_t>(i, 1);
  const auto wanted = t.get<std::uint32_t>(i, 3);
  const std::uint32_t count = kClamp ? std::min(wanted, 32u) : wanted & 31;
  t.set(i, static_cast<std::uint32_t>(kLeft ? both << count >> 32 : both >> count));
}
Handler choose_funnel_shift(const Instruction& i) {
  if (i.type != Type::kB32) return nullptr;
  const bool clamp = i.combine == "clamp";
  if (i.variant == "l") return clamp ? &funnel_shift<true, true> : &funnel_shift<true, false>;
  return clamp ? &funnel_shift<false, true> : &funnel_shift<false, false>;
}

template <class T, class Function>
void count_bits(Thread& t, const Instruction& i) {
  t.set(i, static_cast<std::uint32_t>(Function{}(t.get<T>(i, 1))));
}
template <class Function>
Handler choose_count(const Instruction& i) {
  if (i.type == Type::kB32) return &count_bits<std::uint32_t, Function>;
  if (i.type == Type::kB64) return &count_bits<std::uint64_t, Function>;
  return nullptr;
}
struct Popc {
  auto operator()(auto x) const { return std::popcount(x); }
};
struct Clz {
  auto operator()(auto x) const { return std::countl_zero(x); }
};
struct Brev {
  template <class T>
  requires std::unsigned_integral<T> T operator()(const Instruction&, T a) const {
    T result = 0;
    for (int k = 0; k < kBits<T>; ++k) result = static_cast<T>(result << 1 | (a >> k & 1));
    return result;
  }
};
/// The place of the most significant bit that is not a copy of the sign; -1 if there is none.
template <class T>
void find_bit(Thread& t, const Instruction& i) {
  const T a = t.get<T>(i, 1);
  const auto bits = static_cast<Unsigned<T>>(a < T{0} ? T(~a) : a);
  const int place = kBits<T> - 1 - std::countl_zero(bits);
  const int result = place < 0 || !i.shift_amount ? place : kBits<T> - 1 - place;
  t.set(i, static_cast<std::uint32_t>(result));
}
Handler choose_find_bit(const Instruction& i) {
  return with_type(i.type, []<class T>(std::type_identity<T>) -> Handler {
    if constexpr (Integer<T> && sizeof(T) >= 4) return &find_bit<T>;
    return nullptr;
  });
}
/// bfe: `length` bits from `start` on, filled up with their highest bit if the type is signed.
template <class T>
void extract_field(Thread& t, const Instruction& i) {
  const T a = t.get<T>(i, 1);
  const int start = t.get<std::uint8_t>(i, 2), length = t.get<std::uint8_t>(i, 3);
  const int top = std::min(start + length - 1, kBits<T> - 1);
  const auto bits = static_cast<Unsigned<T>>(a);
  const bool fill = std::is_signed_v<T> && length > 0 && (bits >> top & 1);
  Unsigned<T> result = fill ? static_cast<Unsigned<T>>(-1) : Unsigned<T>{0};
  for (int k = 0; k < kBits<T> && k < length && start + k < kBits<T>; ++k) {
    const auto one = static_cast<Unsigned<T>>(Unsigned<T>{1} << k);
    result = static_cast<Unsigned<T>>(bits >> (start + k) & 1 ? result | one : result & ~one);
  }
  t.set(i, static_cast<T>(result));
}
Handler choose_extract_field(const Instruction& i) {
  return with_type(i.type, []<class T>(std::type_identity<T>) -> Handler {
    if constexpr (Integer<T> && sizeof(T) >= 4) return &extract_field<T>;
    return nullptr;
  });
}
/// bfi: b with `length` bits from `start` on replaced by the low ones of a.
template <class T>
void insert_field(Thread& t, const Instruction& i) {
  const T a = t.get<T>(i, 1);
  T result = t.get<T>(i, 2);
  const int start = t.get<std::uint8_t>(i, 3), length = t.get<std::uint8_t>(i, 4);
  for (int k = 0; k < length && k < kBits<T> && start + k < kBits<T>; ++k) {
    const T one = T{1} << (start + k);
    result = a >> k & 1 ? result | one : result & ~one;
  }
  t.set(i, result);
}
Handler choose_insert_field(const Instruction& i) {
  if (i.type == Type::kB32) return &insert_field<std::uint32_t>;
  if (i.type == Type::kB64) return &insert_field<std::uint64_t>;
  return nullptr;
}

/// prmt: four bytes out of the eight of b:a.
void permute(Thread& t, const Instruction& i) {
  const std::uint64_t both =
      std::uint64_t{t.get<std::uint32_t>(i, 2)} << 32 | t.get<std::uint32_t>(i, 1);
  const auto selector = t.get<std::uint32_t>(i, 3);
  std::uint32_t result = 0;
  for (unsigned k = 0; k < 4; ++k) {
    const unsigned nibble = selector >> 4 * k & 15;
    auto byte = static_cast<std::uint8_t>(both >> 8 * (nibble & 7));
    if (nibble & 8) byte = byte & 0x80 ? 0xff : 0;  // its sign, eight times
    result |= std::uint32_t{byte} << 8 * k;
  }
  t.set(i, result);
}
/// The named modes are selectors that depend on two bits.
void permute_by_mode(Thread& t, const Instruction& i) {
  constexpr std::pair<std::string_view, std::array<std::uint16_t, 4>> kSelectors[] = {
      {"f4e", {0x3210, 0x4321, 0x5432, 0x6543}}, {"b4e", {0x5670, 0x6701, 0x7012, 0x0123}},
      {"rc8", {0x0000, 0x1111, 0x2222, 0x3333}}, {"ecl", {0x3210, 0x3211, 0x3222, 0x3333}},
      {"ecr", {0x0000, 0x1110, 0x2210, 0x3210}}, {"rc16", {0x1010, 0x3232, 0x1010, 0x3232}}};
  const std::uint64_t both =
      std::uint64_t{t.get<std::uint32_t>(i, 2)} << 32 | t.get<std::uint32_t>(i, 1);
  std::uint32_t result = 0;
  for (const auto& [mode, selectors] : kSelectors) {
    if (mode != i.variant) continue;
    const unsigned selector = selectors[t.get<std::uint32_t>(i, 3) & 3];
    for (unsigned k = 0; k < 4; ++k) {
      result |= static_cast<std::uint32_t>(both >> 8 * (selector >> 4 * k & 7) & 0xff) << 8 * k;
    }
  }
  t.set(i, result);
}
Handler choose_permute(const Instruction& i) {
  if (i.type != Type::kB32) return nullptr;
  return i.variant.empty() ? &permute : &permute_by_mode;
}

/// dp4a: c + the sum of the products of four bytes.
template <class A, class B>
void dot_bytes(Thread& t, const Instruction& i) {
  const auto a = t.get<std::uint32_t>(i, 1), b = t.get<std::uint32_t>(i, 2);
  auto result = t.get<std::uint32_t>(i, 3);
  for (int k = 0; k < 32; k += 8) {
    result += static_cast<std::uint32_t>(int{static_cast<A>(a >> k)} * int{static_cast<B>(b >> k)});
  }
  t.set(i, result);
}
Handler choose_dot_bytes(const Instruction& i) {
  const bool a = i.type == Type::kS32, b = i.source_type == Type::kS32;
  if ((!a && i.type != Type::kU32) || (!b && i.source_type != Type::kU32)) return nullptr;
  if (a) return b ? &dot_bytes<std::int8_t, std::int8_t> : &dot_bytes<std::int8_t, std::uint8_t>;
  return b ? &dot_bytes<std::uint8_t, std::int8_t> : &dot_bytes<std::uint8_t, std::uint8_t>;
}

// ---- Comparison and choice

enum class Order : std::uint8_t { kLess, kEqual, kGreater, kUnordered };
template <class T>
Order compare(T a, T b) {
  if constexpr (kIsHalf<T>) {
    return compare(widen(a), widen(b));
  } else {
    return a < b    ? Order::kLess
           : a > b  ? Order::kGreater
           : a == b ? Order::kEqual
                    : Order::kUnordered;
  }
}

/// Which orders make a comparison true: bits kLess, kEqual, kGreater, kUnordered.
struct Comparison {
  std::string_view name;
  unsigned orders;
  bool of_integers;
};
constexpr Comparison kComparisons[] = {
    {"eq", 0b0010, true},   {"ne", 0b0101, true},   {"lt", 0b0001, true},   {"le", 0b0011, true},
    {"gt", 0b0100, true},   {"ge", 0b0110, true},   {"lo", 0b0001, true},   {"ls", 0b0011, true},
    {"hi", 0b0100, true},   {"hs", 0b0110, true},   {"equ", 0b1010, false}, {"neu", 0b1101, false},
    {"ltu", 0b1001, false}, {"leu", 0b1011, false}, {"gtu", 0b1100, false}, {"geu", 0b1110, false},
    {"num", 0b0111, false}, {"nan", 0b1000, false}};
constexpr const Comparison* comparison(std::string_view name) {
  for (const Comparison& row : kComparisons) {
    if (row.name == name) return &row;
  }
  return nullptr;
}

bool combined(const Instruction& i, bool a, bool b) {
  return i.combine == "and" ? a && b : i.combine == "or" ? a || b : a != b;
}

template <class T, unsigned kOrders>
bool holds(T a, T b) {
  return kOrders >> static_cast<unsigned>(compare(a, b)) & 1;
}

/// setp p|q, a, b, c: p = (a ? b) combined with c, q = !(a ? b) combined with c. For packed types p
/// and q are the results of the two halves instead.
template <class T, unsigned kOrders>
void set_predicate(Thread& t, const Instruction& i) {
  bool p, q;
  const T a = source<T>(t, i, 1), b = source<T>(t, i, 2);
  if constexpr (kIsPacked<T>) {
    p = holds<typename Element<T>::type, kOrders>(a.low, b.low);
    q = holds<typename Element<T>::type, kOrders>(a.high, b.high);
  } else {
    p = holds<T, kOrders>(a, b);
    q = !p;
  }
  if (!i.combine.empty()) {
    const bool c = t.get<bool>(i, 3);
    p = combined(i, p, c);
    q = combined(i, q, c);
  }
  t.set(i, p);
  if (i.operands[0].second >= 0) t.set(i.operands[0].second, q);
}

/// set d, a, b, c: all bits or 1.0 if it holds, else 0.
template <class T, unsigned kOrders, class Result>
void set_value(Thread& t, const Instruction& i) {
  const auto value = [&](bool holds_too) {
    if (!i.combine.empty()) holds_too = combined(i, holds_too, t.get<bool>(i, 3));
    using R = typename Element<Result>::type;
    if constexpr (Integer<R>) return static_cast<R>(holds_too ? -1 : 0);
    if constexpr (Binary<R>) return static_cast<R>(holds_too);
    if constexpr (kIsHalf<R>) return holds_too ? kOne<R> : R{0};
  };
  const T a = source<T>(t, i, 1), b = source<T>(t, i, 2);
  if constexpr (kIsPacked<T>) {
    using E = typename Element<T>::type;
    t.set(i,
          Result{value(holds<E, kOrders>(a.low, b.low)), value(holds<E, kOrders>(a.high, b.high))});
  } else {
    t.set(i, value(holds<T, kOrders>(a, b)));
  }
}

/// Calls f with the orders of the instruction's comparison as a constant.
template <class T, class F>
Handler with_comparison(const Instruction& i, F f) {
  const Comparison* row = comparison(i.variant);
  if (!row || (Integer<T> && !row->of_integers)) return nullptr;
  Handler found = nullptr;
  [&]<unsigned... k>(std::integer_sequence<unsigned, k...>) {
    ((row->orders == k ? void(found = f(std::integral_constant<unsigned, k>{})) : void()), ...);
  }
  (std::make_integer_sequence<unsigned, 16>{});
  return found;
}
bool has_condition(const Instruction& i) {
  return i.operands.size() == (i.combine.empty() ? 3 : 4);
}

Handler choose_set_predicate(const Instruction& i) {
  if (!has_condition(i)) return nullptr;
  return with_type(i.type, [&]<class T>(std::type_identity<T>) -> Handler {
    using E = typename Element<T>::type;
    if constexpr ((Integer<E> && !kIsPacked<T> && sizeof(T) >= 2) || AnyFloat<E>) {
      return with_comparison<E>(i,
                                [](auto orders) -> Handler { return &set_predicate<T, orders()>; });
    }
    return nullptr;
  });
}
template <class T>
Handler choose_set_of(const Instruction& i) {
  return with_comparison<typename Element<T>::type>(i, [&](auto orders) -> Handler {
    if constexpr (kIsPacked<T>) {
      // u32 of a packed type: 0xffff for each half that holds.
      if (i.type == i.source_type) return &set_value<T, orders(), T>;
      if (i.type == Type::kU32) return &set_value<T, orders(), Packed<std::uint16_t>>;
      return nullptr;
    }
    if constexpr (!kIsPacked<T>) {
      switch (i.type) {
        case Type::kU32:
        case Type::kS32:
          return &set_value<T, orders(), std::uint32_t>;
        case Type::kF32:
          return &set_value<T, orders(), float>;
        case Type::kF16:
          return &set_value<T, orders(), F16>;
        case Type::kBf16:
          return &set_value<T, orders(), Bf16>;
        default:
          return nullptr;
      }
    }
  });
}
Handler choose_set(const Instruction& i) {
  if (!has_condition(i)) return nullptr;
  return with_type(i.source_type, [&]<class T>(std::type_identity<T>) -> Handler {
    using E = typename Element<T>::type;
    if constexpr ((Integer<E> && !kIsPacked<T> && sizeof(T) >= 2) || AnyFloat<E>) {
      return choose_set_of<T>(i);
    }
    return nullptr;
  });
}

template <class T>
void select(Thread& t, const Instruction& i) {
  t.set(i, t.get<bool>(i, 3) ? t.get<T>(i, 1) : t.get<T>(i, 2));
}
Handler choose_select(const Instruction& i) {
  return with_type(i.type, []<class T>(std::type_identity<T>) -> Handler {
    if constexpr (sizeof(T) >= 2) return &select<T>;
    return nullptr;
  });
}
/// slct: a if c >= 0, else b.
template <class T, class Condition>
void select_by_sign(Thread& t, const Instruction& i) {
  t.set(i, source<Condition>(t, i, 3) >= 0 ? t.get<T>(i, 1) : t.get<T>(i, 2));
}
Handler choose_select_by_sign(const Instruction& i) {
  return with_type(i.type, [&]<class T>(std::type_identity<T>) -> Handler {
    if constexpr (sizeof(T) >= 2) {
      if (i.source_type == Type::kS32) return &select_by_sign<T, std::int32_t>;
      if (i.source_type == Type::kF32) return &select_by_sign<T, float>;
    }
    return nullptr;
  });
}

constexpr Opcode kTable[] = {
    {"add", "?round ?ftz ?sat ?cc type", "d a a", choose_add},
    {"sub", "?round ?ftz ?sat ?cc type", "d a a", choose_sub},
    {"addc", "?cc type", "d a a", choose_add_carry<false, true>},
    {"subc", "?cc type", "d a a", choose_add_carry<true, true>},
    {"mul", "?part ?round ?ftz ?sat type", "d a a", choose_mul},
    {"mad", "?part ?round ?ftz ?sat ?cc type", "d a a a", choose_mad},
    {"madc", "part ?cc type", "d a a a", choose_mad_carry<true>},
    {"fma", "round ?ftz ?sat ?relu type", "d a a a", choose<Fma, 3>},
    {"mul24", "part type", "d a a", choose<Mul24, 2>},
    {"mad24", "part type", "d a a a", choose<Mad24, 3>},
    {"sad", "type", "d a a a", choose<Sad, 3>},
    {"div", "?approx ?round ?ftz type", "d a a", choose<Div, 2>},
    {"rem", "type", "d a a", choose<Rem, 2>},
    {"abs", "?ftz type", "d a", choose<Abs, 1>},
    {"neg", "?ftz type", "d a", choose<Neg, 1>},
    {"min", "?ftz ?NaN type", "d a a", choose<Extreme<false>, 2>},
    {"max", "?ftz ?NaN type", "d a a", choose<Extreme<true>, 2>},
    {"rcp", "?approx ?round ?ftz type", "d a", choose<Rcp, 1>},
    {"sqrt", "?approx ?round ?ftz type", "d a", choose<Sqrt, 1>},
    {"rsqrt", "approx ?ftz type", "d a", choose<Exact<reciprocal_root>, 1>},
    {"sin", "approx ?ftz type", "d a", choose<Exact<sine>, 1>},
    {"cos", "approx ?ftz type", "d a", choose<Exact<cosine>, 1>},
    {"lg2", "approx ?ftz type", "d a", choose<Exact<binary_logarithm>, 1>},
    {"ex2", "approx ?ftz type", "d a", choose<Exact<binary_power, true>, 1>},
    {"tanh", "approx type", "d a", choose<Exact<hyperbolic_tangent, true>, 1>},
    {"copysign", "type", "d a a", choose<Copysign, 2>},
    {"testp", "test type", "d a", choose_test},
    {"and", "type", "d a a", choose<Logic<std::bit_and<>>, 2>},
    {"or", "type", "d a a", choose<Logic<std::bit_or<>>, 2>},
    {"xor", "type", "d a a", choose<Logic<std::bit_xor<>>, 2>},
    {"not", "type", "d a", choose<Not, 1>},
    {"cnot", "type", "d a", choose<Cnot, 1>},
    {"lop3", "type", "d a a a a",
     [](const Instruction& i) -> Handler { return i.type == Type::kB32 ? &lop3 : nullptr; }},
    {"shl", "type", "d a a", choose_shift<true>},
    {"shr", "type", "d a a", choose_shift<false>},
    {"shf", "direction limit type", "d a a a", choose_funnel_shift},
    {"popc", "type", "d a", choose_count<Popc>},
    {"clz", "type", "d a", choose_count<Clz>},
    {"brev", "type", "d a", choose<Brev, 1>},
    {"bfind", "?shiftamt type", "d a", choose_find_bit},
    {"bfe", "type", "d a a a", choose_extract_field},
    {"bfi", "type", "d a a a a", choose_insert_field},
    {"prmt", "type ?bytes", "d a a a", choose_permute},
    {"dp4a", "type type2", "d a a a", choose_dot_bytes},
    {"setp", "compare ?boolean ?ftz type", "p a a ?a", choose_set_predicate},
    {"set", "compare ?boolean ?ftz type type2", "d a a ?a", choose_set},
    {"selp", "type", "d a a a", choose_select},
    {"slct", "?ftz type type2", "d a a a", choose_select_by_sign},
};

}  // namespace

std::span<const Opcode> arithmetic_opcodes() { return kTable; }

}  // namespace muonlab::ptx

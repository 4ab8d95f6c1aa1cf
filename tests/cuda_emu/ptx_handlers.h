#pragma once

#include <concepts>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "tests/cuda_emu/ptx_interpreter.h"
#include "tests/cuda_emu/ptx_number.h"
#include "tests/cuda_emu/ptx_opcodes.h"

// How a row of the table of instructions becomes a handler: an operation is a function object that
// is overloaded for the C++ types it knows, and `choose` picks the one for the instruction's type.
namespace muonlab::ptx {

template <class T>
concept Integer = std::integral<T> && !std::same_as<T, bool>;
template <class T>
concept Binary = std::floating_point<T>;
template <class T>
concept Half = kIsHalf<T>;
template <class T>
concept AnyFloat = Binary<T> || Half<T>;

template <class T>
inline constexpr bool kIsPacked = false;
template <class T>
inline constexpr bool kIsPacked<Packed<T>> = true;

/// Calls f with std::type_identity of the C++ type, or returns a value-initialised result.
template <class F>
auto with_type(Type type, F f) -> decltype(f(std::type_identity<float>{})) {
  switch (type) {
    case Type::kPred:
      return f(std::type_identity<bool>{});
    case Type::kB8:
    case Type::kU8:
      return f(std::type_identity<std::uint8_t>{});
    case Type::kB16:
    case Type::kU16:
      return f(std::type_identity<std::uint16_t>{});
    case Type::kB32:
    case Type::kU32:
      return f(std::type_identity<std::uint32_t>{});
    case Type::kB64:
    case Type::kU64:
      return f(std::type_identity<std::uint64_t>{});
    case Type::kS8:
      return f(std::type_identity<std::int8_t>{});
    case Type::kS16:
      return f(std::type_identity<std::int16_t>{});
    case Type::kS32:
      return f(std::type_identity<std::int32_t>{});
    case Type::kS64:
      return f(std::type_identity<std::int64_t>{});
    case Type::kF16:
      return f(std::type_identity<F16>{});
    case Type::kBf16:
      return f(std::type_identity<Bf16>{});
    case Type::kTf32:
      return f(std::type_identity<Tf32>{});
    case Type::kF32:
      return f(std::type_identity<float>{});
    case Type::kF64:
      return f(std::type_identity<double>{});
    case Type::kU16x2:
      return f(std::type_identity<Packed<std::uint16_t>>{});
    case Type::kS16x2:
      return f(std::type_identity<Packed<std::int16_t>>{});
    case Type::kF16x2:
      return f(std::type_identity<Packed<F16>>{});
    case Type::kBf16x2:
      return f(std::type_identity<Packed<Bf16>>{});
    case Type::kNone:
      break;
  }
  return {};
}

// ---- .ftz, .sat, .relu and NaN, which are the same for every operation

template <class T>
T flushed(T x) {
  if constexpr (std::is_same_v<T, float>) {
    return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0f, x) : x;
  } else if constexpr (std::is_same_v<T, F16>) {
    return x.bits & F16::kInfinity ? x : F16{static_cast<std::uint16_t>(x.bits & F16::kSign)};
  } else {
    return x;
  }
}

template <class T>
T finished(const Instruction& i, T x) {
  if constexpr (kIsPacked<T>) {
    return {finished(i, x.low), finished(i, x.high)};
  } else if constexpr (std::is_same_v<T, float> || std::is_same_v<T, double>) {
    if (std::isnan(x)) {
      if (i.sat) return 0;
      if constexpr (std::is_same_v<T, float>) return std::bit_cast<float>(0x7fffffffu);
      return x;
    }
    if (i.ftz) x = flushed(x);
    if (i.sat) x = std::min<T>(std::max<T>(x, 0), 1) + T(0);
    if (i.relu) x = std::max<T>(x, 0);
    return x;
  } else if constexpr (kIsHalf<T>) {
    const double wide = widen(x);
    if (std::isnan(wide)) return T{i.sat ? typename T::Storage{0} : T::kNan};
    if (i.ftz) x = flushed(x);
    if (i.sat) return narrow<T>(std::min(std::max(wide, 0.0), 1.0) + 0.0, Rounding::kNearestEven);
    if (i.relu && x.bits & T::kSign) return T{0};
    return x;
  } else {
    return x;
  }
}

/// Operand k as an instruction of that type reads it.
template <class T>
T source(const Thread& t, const Instruction& i, std::size_t k) {
  T x = t.get<T>(i, k);
  if constexpr (kIsPacked<T>) {
    return i.ftz ? T{flushed(x.low), flushed(x.high)} : x;
  } else if constexpr (AnyFloat<T>) {
    return i.ftz ? flushed(x) : x;
  } else {
    return x;
  }
}

// ---- Operations

template <class Op, class T, std::size_t... k>
void compute(Thread& t, const Instruction& i, std::index_sequence<k...>) {
  if constexpr (kIsPacked<T>) {
    const auto each = [&](auto... x) { return T{Op{}(i, x.low...), Op{}(i, x.high...)}; };
    t.set(i, finished(i, each(source<T>(t, i, k + 1)...)));
  } else {
    t.set(i, finished(i, Op{}(i, source<T>(t, i, k + 1)...)));
  }
}
template <class Op, class T, std::size_t kSources>
void compute(Thread& t, const Instruction& i) {
  compute<Op, T>(t, i, std::make_index_sequence<kSources>{});
}

template <class T>
struct Element {
  using type = T;
};
template <class T>
struct Element<Packed<T>> {
  using type = T;
};

template <class T, std::size_t>
using Repeated = T;
template <class Op, class T, std::size_t... k>
constexpr bool knows(std::index_sequence<k...>) {
  return std::is_invocable_v<Op, const Instruction&, Repeated<T, k>...>;
}

/// The handler d = Op(a, b, ...) with `kSources` operands of the instruction's type.
template <class Op, std::size_t kSources>
Handler choose(const Instruction& i) {
  return with_type(i.type, [&]<class T>(std::type_identity<T>) -> Handler {
    using E = typename Element<T>::type;
    if constexpr (knows<Op, E>(std::make_index_sequence<kSources>{})) {
      // What these words would mean for integers is up to the few operations that know them.
      const bool of_floats =
          i.ftz || i.propagate_nan || i.rounds || (i.sat && !requires { Op::kSaturatesIntegers; });
      if (Integer<E> && of_floats) return nullptr;
      return &compute<Op, T, kSources>;
    } else {
      return nullptr;
    }
  });
}

}  // namespace muonlab::ptx

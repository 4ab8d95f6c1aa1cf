// Conversion between types, and moves. Semantics: NVIDIA, "Parallel Thread Execution ISA", chapter
// 9, cvt and mov.
#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/cuda_emu/ptx_handlers.h"

namespace muonlab::ptx {
namespace {

/// An integer is rounded once, so large ones go by way of rounding to odd.
template <class To, class From>
To integer_to_float(From x, Rounding rounding) {
  if constexpr (std::is_same_v<To, double>) {
    return in_rounding(
        rounding, [](auto y) { return static_cast<double>(y); }, x);
  } else if constexpr (std::is_same_v<To, float>) {
    return std::bit_cast<float>(narrow<F32>(integer_to_odd(x), rounding).bits);
  } else {
    return narrow<To>(integer_to_odd(x), rounding);
  }
}

/// Out of range: the nearest there is. A NaN: 0, but the lowest bit pattern of a sign where 64 bits
/// are on either side.
template <class To, class From>
To float_to_integer(From x, Rounding rounding) {
  if (std::isnan(x)) {
    const bool wide = sizeof(To) == 8 || sizeof(From) == 8;
    return wide ? static_cast<To>(std::make_unsigned_t<To>{1} << (sizeof(To) * 8 - 1)) : To{0};
  }
  const double whole = to_whole<double>(x, rounding);
  const double limit = std::ldexp(1.0, std::numeric_limits<To>::digits);
  if (whole >= limit) return std::numeric_limits<To>::max();
  if (whole <= (std::is_signed_v<To> ? -limit : 0)) return std::numeric_limits<To>::min();
  return static_cast<To>(whole);
}

template <class To, class From>
To integer_to_integer(const Instruction& i, From x) {
  if (!i.sat) return static_cast<To>(x);
  if (std::cmp_less(x, std::numeric_limits<To>::min())) return std::numeric_limits<To>::min();
  if (std::cmp_greater(x, std::numeric_limits<To>::max())) return std::numeric_limits<To>::max();
  return static_cast<To>(x);
}

template <class From>
double as_double(From x) {
  if constexpr (Half<From>) {
    return widen(x);
  } else {
    return static_cast<double>(x);
  }
}

template <class To>
To float_to_float(const Instruction& i, double x) {
  // Between equal types a rounding mode is one to whole numbers.
  if (i.type == i.source_type && i.rounds) x = to_whole(x, i.rounding);
  if constexpr (std::is_same_v<To, double>) {
    return x;
  } else if constexpr (std::is_same_v<To, float>) {
    return std::bit_cast<float>(narrow<F32>(x, i.rounding).bits);
  } else {
    return narrow<To>(x, i.rounding, i.satfinite);
  }
}

template <class To, class From>
To converted(const Instruction& i, From x) {
  if constexpr (Integer<To> && Integer<From>) {
    return integer_to_integer<To>(i, x);
  } else if constexpr (Integer<To>) {
    if constexpr (Half<From>) {
      return float_to_integer<To>(static_cast<float>(widen(x)), i.rounding);
    } else {
      return float_to_integer<To>(x, i.rounding);
    }
  } else if constexpr (Integer<From>) {
    return finished(i, integer_to_float<To>(x, i.rounding));
  } else {
    return finished(i, float_to_float<To>(i, as_double(x)));
  }
}

template <class To, class From>
void convert(Thread& t, const Instruction& i) {
  t.set(i, converted<To>(i, source<From>(t, i, 1)));
}
/// The second source goes to the low half.
template <class To>
void convert_pair(Thread& t, const Instruction& i) {
  const auto high = source<float>(t, i, 1), low = source<float>(t, i, 2);
  t.set(i, Packed<To>{converted<To>(i, low), converted<To>(i, high)});
}
void convert_tf32(Thread& t, const Instruction& i) {
  const Tf32 x = narrow<Tf32>(t.get<float>(i, 1), i.rounding, i.satfinite);
  t.set(i, (i.relu && x.bits & Tf32::kSign ? 0 : x.bits) << 13);
}

Handler choose_convert(const Instruction& i) {
  const bool pair = i.operands.size() == 3;
  if (i.source_type == Type::kF32 && pair) {
    if (i.type == Type::kF16x2) return &convert_pair<F16>;
    if (i.type == Type::kBf16x2) return &convert_pair<Bf16>;
  }
  if (pair) return nullptr;
  if (i.type == Type::kTf32) return i.source_type == Type::kF32 ? &convert_tf32 : nullptr;
  return with_type(i.type, [&]<class To>(std::type_identity<To>) -> Handler {
    if constexpr (Integer<To> || AnyFloat<To>) {
      return with_type(i.source_type, []<class From>(std::type_identity<From>) -> Handler {
        if constexpr (Integer<From> || AnyFloat<From>) return &convert<To, From>;
        return nullptr;
      });
    }
    return nullptr;
  });
}

// ---- mov

template <class T>
void move(Thread& t, const Instruction& i) {
  t.set(i, t.get<T>(i, 1));
}
/// mov.b64 %rd1, {%r1, %r2}: the first is the lowest.
template <class T, class Part>
void pack(Thread& t, const Instruction& i) {
  const Operand& from = i.operands[1];
  T result = 0;
  for (std::int32_t k = from.second; k-- > 0;) {
    const auto part = t.get<Part>(i.elements[static_cast<std::size_t>(from.reg + k)]);
    result = static_cast<T>(result << (8 * sizeof(Part) % (8 * sizeof(T))) | part);
  }
  t.set(i, result);
}
template <class T, class Part>
void unpack(Thread& t, const Instruction& i) {
  const Operand& to = i.operands[0];
  const T value = t.get<T>(i, 1);
  for (std::int32_t k = 0; k < to.second; ++k) {
    t.set(i.elements[static_cast<std::size_t>(to.reg + k)],
          static_cast<Part>(value >> 8 * sizeof(Part) * static_cast<std::size_t>(k)));
  }
}
/// Calls f with the types of the whole and of its parts.
template <class F>
Handler with_parts(unsigned bytes, std::int32_t parts, F f) {
  using std::type_identity;
  switch (bytes * 10 + static_cast<unsigned>(parts)) {
    case 22:
      return f(type_identity<std::uint16_t>{}, type_identity<std::uint8_t>{});
    case 42:
      return f(type_identity<std::uint32_t>{}, type_identity<std::uint16_t>{});
    case 44:
      return f(type_identity<std::uint32_t>{}, type_identity<std::uint8_t>{});
    case 82:
      return f(type_identity<std::uint64_t>{}, type_identity<std::uint32_t>{});
    case 84:
      return f(type_identity<std::uint64_t>{}, type_identity<std::uint16_t>{});
    default:
      return nullptr;
  }
}
Handler choose_move(const Instruction& i) {
  const bool to_parts = i.operands[0].kind == Operand::Kind::kVector;
  const bool from_parts = i.operands[1].kind == Operand::Kind::kVector;
  if (to_parts && from_parts) return nullptr;
  if (to_parts) {
    return with_parts(
        bytes_of(i.type), i.operands[0].second,
        []<class T, class Part>(std::type_identity<T>, std::type_identity<Part>) -> Handler {
          return &unpack<T, Part>;
        });
  }
  if (from_parts) {
    return with_parts(
        bytes_of(i.type), i.operands[1].second,
        []<class T, class Part>(std::type_identity<T>, std::type_identity<Part>) -> Handler {
          return &pack<T, Part>;
        });
  }
  return with_type(i.type, []<class T>(std::type_identity<T>) -> Handler { return &move<T>; });
}

/// Generic addresses are those of the host; those of shared memory are offsets.
template <bool kTo>
void convert_shared_address(Thread& t, const Instruction& i) {
  const auto base = reinterpret_cast<std::uintptr_t>(t.shared());
  const auto address = t.get<std::uint64_t>(i, 1);
  t.set(i, kTo ? address - base : std::uint64_t{static_cast<std::uint32_t>(address)} + base);
}
Handler choose_convert_address(const Instruction& i) {
  if (i.type != Type::kU64) return nullptr;
  if (i.space != Space::kShared) return &move<std::uint64_t>;
  return i.to_space ? &convert_shared_address<true> : &convert_shared_address<false>;
}

constexpr Opcode kTable[] = {
    {"cvt", "?round ?ftz ?relu ?satfinite ?sat type type2", "d a ?a", choose_convert},
    {"mov", "type", "d a", choose_move},
    {"cvta", "?to space type", "d a", choose_convert_address},
};

}  // namespace

std::span<const Opcode> conversion_opcodes() { return kTable; }

}  // namespace muonlab::ptx

#pragma once

#include <cstddef>
#include <cstdint>

namespace muonlab {

/// Element types. f32 trains; f64 exists on the CPU so that tests are sharp; i32 holds token ids;
/// bf16, the upper half of an f32, is for activations on a GPU.
enum class DType : std::uint8_t { f32, f64, i32, bf16 };

constexpr std::size_t size_of(DType t) { return t == DType::f64 ? 8 : t == DType::bf16 ? 2 : 4; }
constexpr const char* name_of(DType t) {
  switch (t) {
    case DType::f32:
      return "f32";
    case DType::f64:
      return "f64";
    case DType::i32:
      return "i32";
    case DType::bf16:
      return "bf16";
  }
  return "?";
}

/// The type of what goes with activations of type t and is never short: parameters and their
/// gradients, statistics, losses.
constexpr DType wide_type(DType t) { return t == DType::bf16 ? DType::f32 : t; }

template <class T>
struct DTypeOf;
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::f32;
};
template <>
struct DTypeOf<double> {
  static constexpr DType value = DType::f64;
};
template <>
struct DTypeOf<std::int32_t> {
  static constexpr DType value = DType::i32;
};

}  // namespace muonlab

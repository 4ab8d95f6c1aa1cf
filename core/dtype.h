#pragma once

#include <cstddef>
#include <cstdint>

namespace muonlab {

/// Element types. f32 trains; f64 exists on the CPU so that tests are sharp; i32 holds token ids.
enum class DType : std::uint8_t { f32, f64, i32 };

constexpr std::size_t size_of(DType t) { return t == DType::f64 ? 8 : 4; }
constexpr const char* name_of(DType t) {
  return t == DType::f32 ? "f32" : t == DType::f64 ? "f64" : "i32";
}

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

#pragma once

// bfloat16 as in NVIDIA's cuda_bf16.h: round to nearest even, one NaN. bf16_test.cpp compares the
// two where a toolkit is installed.

#include "tests/cuda_emu/include/simt.h"

struct __nv_bfloat16 {
  std::uint16_t bits;
  __nv_bfloat16() = default;
  __forceinline__ __nv_bfloat16(float x) : bits(rounded(__float_as_uint(x))) {}
  __forceinline__ operator float() const { return __uint_as_float(std::uint32_t(bits) << 16); }

 private:
  static std::uint16_t rounded(std::uint32_t x) {
    constexpr std::uint32_t kInfinity = 0x7f800000u;
    if ((x & 0x7fffffffu) > kInfinity) return 0x7fff;
    const std::uint32_t odd = (x >> 16) & 1u;
    return std::uint16_t((x + 0x7fffu + odd) >> 16);
  }
};
struct alignas(4) __nv_bfloat162 {
  __nv_bfloat16 x, y;
};
using nv_bfloat16 = __nv_bfloat16;
using nv_bfloat162 = __nv_bfloat162;

__forceinline__ __nv_bfloat16 __float2bfloat16(float x) { return x; }
__forceinline__ __nv_bfloat16 __float2bfloat16_rn(float x) { return x; }
__forceinline__ float __bfloat162float(__nv_bfloat16 x) { return x; }
__forceinline__ __nv_bfloat162 __floats2bfloat162_rn(float x, float y) { return {x, y}; }
__forceinline__ float2 __bfloat1622float2(__nv_bfloat162 v) { return {v.x, v.y}; }

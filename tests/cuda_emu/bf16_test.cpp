// The emulated bf16 conversions are those of the toolkit, where one is installed.

#include <cuda_bf16.h>

#include <cstdint>

#include "tests/cuda_emu/toolkit_bf16.h"
#include "tests/support/catch.h"

namespace {

std::uint16_t bits(__nv_bfloat16 x) { return x.bits; }
__nv_bfloat16 from_bits(std::uint32_t x) {
  __nv_bfloat16 b;
  b.bits = static_cast<std::uint16_t>(x);
  return b;
}

}  // namespace

// Written out by hand: ties go to even, and what is above the largest number becomes infinite.
TEST_CASE("bf16 rounds to nearest, ties to even") {
  CHECK(float(__float2bfloat16(1.0f)) == 1.0f);
  CHECK(bits(__float2bfloat16(__uint_as_float(0x3f808000))) == 0x3f80);  // tie, even below
  CHECK(bits(__float2bfloat16(__uint_as_float(0x3f818000))) == 0x3f82);  // tie, even above
  CHECK(bits(__float2bfloat16(__uint_as_float(0x3f808001))) == 0x3f81);
  CHECK(bits(__float2bfloat16(__uint_as_float(0x7f7fffff))) == 0x7f80);
  CHECK(bits(__float2bfloat16(__uint_as_float(0xff800000))) == 0xff80);
  CHECK(bits(__float2bfloat16(__uint_as_float(0x7fc00001))) == 0x7fff);
  CHECK(__bfloat1622float2(__floats2bfloat162_rn(2, 3)).y == 3);
}

#ifdef MUONLAB_TOOLKIT

// Rounding looks at the upper half, at whether the lower half is below, at or above a tie, and for
// NaN at whether it is 0: these lower halves are all there is to see.
TEST_CASE("bf16 from float, as the toolkit does it") {
  std::uint32_t wrong = 0;
  for (std::uint32_t upper = 0; upper < 0x10000; ++upper)
    for (const std::uint32_t lower : {0x0000u, 0x0001u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu}) {
      const std::uint32_t x = upper << 16 | lower;
      wrong += bits(__float2bfloat16(__uint_as_float(x))) != toolkit_bf16_from_float(x);
    }
  CHECK(wrong == 0);
}

TEST_CASE("float from bf16, as the toolkit does it") {
  std::uint32_t wrong = 0;
  for (std::uint32_t x = 0; x < 0x10000; ++x)
    wrong += __float_as_uint(float(from_bits(x))) != toolkit_float_from_bf16(std::uint16_t(x));
  CHECK(wrong == 0);
}

#else

TEST_CASE("bf16, compared with the toolkit") {
  WARN("skipped: no CUDA toolkit was found when this was built");
}

#endif

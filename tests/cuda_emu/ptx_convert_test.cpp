#include <cmath>
#include <cstdint>
#include <limits>
#include <random>

#include "tests/cuda_emu/ptx_number.h"
#include "tests/cuda_emu/ptx_snippet.h"
#include "tests/support/catch.h"

using namespace muonlab::ptx;

namespace {
constexpr float kInf = std::numeric_limits<float>::infinity();
}

TEST_CASE("ptx cvt between integers extends, cuts off or saturates") {
  check_cases({
      {"cvt.s32.s8 %r0, %r1;", {0x1ff}, s32(-1)},
      {"cvt.u32.u8 %r0, %r1;", {0x1ff}, 0xff},
      {"cvt.u32.s8 %r0, %r1;", {0x80}, 0xffffff80},
      {"cvt.s64.s32 %d0, %r1;", {0x80000000}, 0xffffffff80000000},
      {"cvt.u64.u32 %d0, %r1;", {0x80000000}, 0x80000000},
      {"cvt.u32.u64 %r0, %d1;", {0x123456789}, 0x23456789},
      {"cvt.u16.u32 %h0, %r1;", {0x12345}, 0x2345},
      {"cvt.s16.s8 %h0, %h1;", {0x80}, 0xff80},
      {"cvt.sat.u8.s32 %r0, %r1;", {300}, 255},
      {"cvt.sat.u8.s32 %r0, %r1;", {s32(-3)}, 0},
      {"cvt.sat.s8.s32 %r0, %r1;", {s32(-300)}, s32(-128)},
      {"cvt.sat.s32.u32 %r0, %r1;", {0xffffffff}, 0x7fffffff},
      {"cvt.sat.s16.s64 %h0, %d1;", {s64(-99)}, s16(-99)},
      {"cvt.sat.u32.s64 %r0, %d1;", {1ull << 40}, 0xffffffff},
      // A register wider than the type is filled up.
      {"cvt.s8.s32 %r0, %r1;", {0x80}, 0xffffff80},
      {"cvt.u8.u32 %r0, %r1;", {0x180}, 0x80},
  });
}

TEST_CASE("ptx cvt from integers rounds once") {
  check_cases({
      {"cvt.rn.f32.s32 %r0, %r1;", {s32(-7)}, f(-7)},
      {"cvt.rn.f32.u32 %r0, %r1;", {s32(-7)}, f(4294967296.0f)},
      {"cvt.rn.f32.s32 %r0, %r1;", {16777217}, f(16777216)},
      {"cvt.rn.f32.s32 %r0, %r1;", {16777219}, f(16777220)},
      {"cvt.rz.f32.s32 %r0, %r1;", {16777219}, f(16777218)},
      {"cvt.rp.f32.s32 %r0, %r1;", {16777217}, f(16777218)},
      {"cvt.rm.f32.s32 %r0, %r1;", {s32(-16777217)}, f(-16777218)},
      {"cvt.rz.f32.s32 %r0, %r1;", {s32(-16777217)}, f(-16777216)},
      // 2^63 + 2^39 + 1: above a tie by less than double can hold.
      {"cvt.rn.f32.u64 %d0, %d1;", {(1ull << 63) + (1ull << 39) + 1}, f(0x1p63f + 0x1p40f)},
      {"cvt.rn.f32.u64 %d0, %d1;", {(1ull << 63) + (1ull << 39)}, f(0x1p63f)},
      {"cvt.rn.f32.s64 %r0, %d1;", {s64(-5)}, f(-5)},
      {"cvt.rn.f32.s64 %r0, %d1;", {1ull << 63}, f(-0x1p63f)},
      {"cvt.rn.f32.u16 %r0, %h1;", {0xffff}, f(65535)},
      {"cvt.rn.f32.s16 %r0, %h1;", {0xffff}, f(-1)},
      {"cvt.rn.f32.u8 %r0, %h1;", {0xff80}, f(128)},
      {"cvt.rn.f32.s8 %r0, %h1;", {0xff80}, f(-128)},
      {"cvt.rn.f64.s32 %d0, %r1;", {s32(-3)}, d(-3)},
      {"cvt.rn.f64.u32 %d0, %r1;", {0xffffffff}, d(4294967295.0)},
      {"cvt.rn.f64.s64 %d0, %d1;", {(1ull << 53) + 1}, d(0x1p53)},
      {"cvt.rp.f64.s64 %d0, %d1;", {(1ull << 53) + 1}, d(0x1p53 + 2)},
      {"cvt.rz.f64.u64 %d0, %d1;", {~0ull}, d(0x1.fffffffffffffp63)},
      {"cvt.rn.f64.u64 %d0, %d1;", {~0ull}, d(0x1p64)},
      {"cvt.rn.f16.s32 %h0, %r1;", {2049}, 0x6800},
      {"cvt.rn.f16.s32 %h0, %r1;", {2051}, 0x6802},
      {"cvt.rn.f16.u32 %h0, %r1;", {65520}, 0x7c00},
      {"cvt.rz.f16.u32 %h0, %r1;", {70000}, 0x7bff},
      {"cvt.rn.bf16.s32 %h0, %r1;", {257}, 0x4380},
      {"cvt.rn.bf16.s32 %h0, %r1;", {s32(-259)}, 0xc382},
      {"cvt.rn.bf16.u64 %h0, %d1;", {(1ull << 63) + (1ull << 55) + 1}, 0x5f01},
      {"cvt.rn.sat.f32.s32 %r0, %r1;", {5}, f(1)},
  });
}

TEST_CASE("ptx cvt to integers rounds as it is told, and stays in range") {
  check_cases({
      {"cvt.rzi.s32.f32 %r0, %r1;", {f(-2.75f)}, s32(-2)},
      {"cvt.rni.s32.f32 %r0, %r1;", {f(2.5f)}, 2},
      {"cvt.rni.s32.f32 %r0, %r1;", {f(3.5f)}, 4},
      {"cvt.rmi.s32.f32 %r0, %r1;", {f(-2.25f)}, s32(-3)},
      {"cvt.rpi.s32.f32 %r0, %r1;", {f(2.25f)}, 3},
      {"cvt.rzi.s32.f32 %r0, %r1;", {f(3e9f)}, 0x7fffffff},
      {"cvt.rzi.s32.f32 %r0, %r1;", {f(-3e9f)}, 0x80000000},
      {"cvt.rzi.s32.f32 %r0, %r1;", {f(-0x1p31f)}, 0x80000000},
      {"cvt.rzi.s32.f32 %r0, %r1;", {kInfinity}, 0x7fffffff},
      {"cvt.rzi.u32.f32 %r0, %r1;", {f(3e9f)}, 3000000000u},
      {"cvt.rzi.u32.f32 %r0, %r1;", {f(-1)}, 0},
      {"cvt.rzi.u32.f32 %r0, %r1;", {f(5e9f)}, 0xffffffff},
      {"cvt.rzi.s32.f32 %r0, %r1;", {kNan}, 0},
      {"cvt.rzi.u32.f32 %r0, %r1;", {kNan}, 0},
      {"cvt.rzi.s64.f32 %d0, %r1;", {kNan}, 1ull << 63},
      {"cvt.rzi.s64.f64 %d0, %d1;", {d(-3e18)}, s64(-3000000000000000000)},
      {"cvt.rzi.s64.f64 %d0, %d1;", {d(1e19)}, 0x7fffffffffffffff},
      {"cvt.rzi.u64.f64 %d0, %d1;", {d(1e19)}, 10000000000000000000ull},
      {"cvt.rzi.u64.f64 %d0, %d1;", {d(-1e19)}, 0},
      {"cvt.rzi.s32.f64 %r0, %d1;", {d(-7.9)}, s32(-7)},
      {"cvt.rzi.s32.f64 %r0, %d1;", {d(std::nan(""))}, 0x80000000},
      {"cvt.rni.s32.f64 %r0, %d1;", {d(2147483647.25)}, 0x7fffffff},
      {"cvt.rzi.u8.f32 %r0, %r1;", {f(300)}, 255},
      {"cvt.rzi.s16.f32 %h0, %r1;", {f(-40000)}, 0x8000},
      {"cvt.rpi.ftz.s32.f32 %r0, %r1;", {1}, 0},
      {"cvt.rpi.s32.f32 %r0, %r1;", {1}, 1},
      {"cvt.rni.s32.f16 %r0, %h1;", {0x4100}, 2},
      {"cvt.rzi.s32.bf16 %r0, %h1;", {0xc020}, s32(-2)},
  });
}

TEST_CASE("ptx cvt between floating point types") {
  check_cases({
      {"cvt.f64.f32 %d0, %r1;", {f(1.5f)}, d(1.5)},
      {"cvt.ftz.f64.f32 %d0, %r1;", {0x80000001}, d(-0.0)},
      {"cvt.f64.f32 %d0, %r1;", {1}, d(0x1p-149)},
      {"cvt.rn.f32.f64 %r0, %d1;", {d(1 + 0x1p-24)}, f(1)},
      {"cvt.rp.f32.f64 %r0, %d1;", {d(1 + 0x1p-24)}, f(1 + 0x1p-23f)},
      {"cvt.rz.f32.f64 %r0, %d1;", {d(-1 - 0x1p-24)}, f(-1)},
      {"cvt.rm.f32.f64 %r0, %d1;", {d(-1 - 0x1p-24)}, f(-1 - 0x1p-23f)},
      {"cvt.rn.f32.f64 %r0, %d1;", {d(1e300)}, kInfinity},
      {"cvt.rz.f32.f64 %r0, %d1;", {d(1e300)}, 0x7f7fffff},
      {"cvt.rp.f32.f64 %r0, %d1;", {d(-1e300)}, 0xff7fffff},
      {"cvt.rn.f32.f64 %r0, %d1;", {d(0x1p-149)}, 1},
      {"cvt.rn.f32.f64 %r0, %d1;", {d(0x1p-150)}, 0},
      {"cvt.rn.f32.f64 %r0, %d1;", {d(0x1.8p-149)}, 2},
      {"cvt.rn.ftz.f32.f64 %r0, %d1;", {d(-0x1p-140)}, kMinusZero},
      {"cvt.rn.f32.f64 %r0, %d1;", {d(std::nan(""))}, kNan},
      {"cvt.rni.f32.f32 %r0, %r1;", {f(2.5f)}, f(2)},
      {"cvt.rzi.f32.f32 %r0, %r1;", {f(-2.75f)}, f(-2)},
      {"cvt.rmi.f32.f32 %r0, %r1;", {f(-2.25f)}, f(-3)},
      {"cvt.rpi.f32.f32 %r0, %r1;", {f(-0.5f)}, kMinusZero},
      {"cvt.rmi.f64.f64 %d0, %d1;", {d(-2.25)}, d(-3)},
      {"cvt.sat.f32.f32 %r0, %r1;", {f(2.5f)}, f(1)},
      {"cvt.sat.f32.f32 %r0, %r1;", {kNan}, 0},
      {"cvt.sat.f32.f32 %r0, %r1;", {kMinusZero}, 0},
      {"cvt.ftz.sat.f32.f32 %r0, %r1;", {0x007fffff}, 0},
      {"cvt.f32.f16 %r0, %h1;", {0x3e00}, f(1.5f)},
      {"cvt.f32.f16 %r0, %h1;", {0x0001}, f(0x1p-24f)},
      {"cvt.f32.f16 %r0, %h1;", {0xfc00}, f(-kInf)},
      {"cvt.f32.f16 %r0, %h1;", {0x7e00}, kNan},
      {"cvt.f32.bf16 %r0, %h1;", {0x4049}, 0x40490000},
      {"cvt.f32.bf16 %r0, %h1;", {0x0001}, 0x00010000},
      {"cvt.rn.f16.f32 %h0, %r1;", {f(1.5f)}, 0x3e00},
      {"cvt.rn.f16.f32 %h0, %r1;", {f(1 + 0x1p-11f)}, 0x3c00},
      {"cvt.rn.f16.f32 %h0, %r1;", {f(1 + 0x1p-11f + 0x1p-23f)}, 0x3c01},
      {"cvt.rz.f16.f32 %h0, %r1;", {f(1 + 0x1p-11f + 0x1p-23f)}, 0x3c00},
      {"cvt.rn.f16.f32 %h0, %r1;", {f(65520)}, 0x7c00},
      {"cvt.rn.f16.f32 %h0, %r1;", {f(65519)}, 0x7bff},
      {"cvt.rn.f16.f32 %h0, %r1;", {f(0x1p-24f)}, 0x0001},
      {"cvt.rn.f16.f32 %h0, %r1;", {f(0x1p-25f)}, 0x0000},
      {"cvt.rn.f16.f32 %h0, %r1;", {f(-0x1.8p-25f)}, 0x8001},
      {"cvt.rn.f16.f32 %h0, %r1;", {f(0x1.ff8p-15f)}, 0x03ff},
      {"cvt.rn.f16.f32 %h0, %r1;", {f(0x1.ffcp-15f)}, 0x0400},
      {"cvt.rn.f16.f32 %h0, %r1;", {kNan}, 0x7fff},
      {"cvt.rn.relu.f16.f32 %h0, %r1;", {f(-1)}, 0x0000},
      {"cvt.rn.f16.f64 %h0, %d1;", {d(1 + 0x1p-11 + 0x1p-40)}, 0x3c01},
      {"cvt.rn.bf16.f32 %h0, %r1;", {f(1 + 0x1p-8f)}, 0x3f80},
      {"cvt.rn.bf16.f32 %h0, %r1;", {f(1 + 0x3p-8f)}, 0x3f82},
      {"cvt.rz.bf16.f32 %h0, %r1;", {f(1 + 0x3p-8f)}, 0x3f81},
      {"cvt.rn.bf16.f32 %h0, %r1;", {0x7f7fffff}, 0x7f80},
      {"cvt.rz.bf16.f32 %h0, %r1;", {0x7f7fffff}, 0x7f7f},
      {"cvt.rn.satfinite.bf16.f32 %h0, %r1;", {0x7f7fffff}, 0x7f7f},
      {"cvt.rn.bf16.f32 %h0, %r1;", {0x00008001}, 0x0001},
      {"cvt.rn.bf16.f32 %h0, %r1;", {0xffffffff}, 0x7fff},
      {"cvt.rn.relu.bf16.f32 %h0, %r1;", {f(-2)}, 0},
      {"cvt.rmi.f16.f16 %h0, %h1;", {0xbe00}, 0xc000},
      {"cvt.rn.bf16x2.f32 %r0, %r1, %r2;", {f(1), f(2)}, 0x3f804000},
      {"cvt.rz.bf16x2.f32 %r0, %r1, %r2;", {f(1 + 0x3p-8f), f(-1 - 0x3p-8f)}, 0x3f81bf81},
      {"cvt.rn.f16x2.f32 %r0, %r1, %r2;", {f(1), f(2)}, 0x3c004000},
      {"cvt.rn.relu.f16x2.f32 %r0, %r1, %r2;", {f(-1), f(2)}, 0x00004000},
      {"cvt.rna.tf32.f32 %r0, %r1;", {f(1 + 0x1p-11f)}, f(1 + 0x1p-10f)},
      {"cvt.rn.tf32.f32 %r0, %r1;", {f(1 + 0x1p-11f)}, f(1)},
      {"cvt.rna.tf32.f32 %r0, %r1;", {f(-1 - 0x1p-12f)}, f(-1)},
      {"cvt.rn.relu.tf32.f32 %r0, %r1;", {f(-1)}, 0},
  });
}

TEST_CASE("ptx halves keep their value through f32 and back, all of them") {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    // The format by its definition.
    const auto value = [&](int exponent_bits, int fraction_bits) {
      const int bias = (1 << (exponent_bits - 1)) - 1;
      const int exponent = half >> fraction_bits & ((1 << exponent_bits) - 1);
      const double fraction = half & ((1 << fraction_bits) - 1);
      double out = exponent == 0
                       ? std::ldexp(fraction, 1 - bias - fraction_bits)
                       : std::ldexp(1 + std::ldexp(fraction, -fraction_bits), exponent - bias);
      if (exponent == (1 << exponent_bits) - 1) {
        out = fraction != 0 ? std::nan("") : std::numeric_limits<double>::infinity();
      }
      return half & 0x8000 ? -out : out;
    };
    const double f16 = value(5, 10), bf16 = value(8, 7);
    const auto same = [](double a, double b) {
      return (std::isnan(a) && std::isnan(b)) || (a == b && std::signbit(a) == std::signbit(b));
    };
    bool right = same(widen(F16{half}), f16) && same(widen(Bf16{half}), bf16);
    for (const Rounding mode : {Rounding::kNearestEven, Rounding::kZero, Rounding::kDown,
                                Rounding::kUp, Rounding::kNearestAway}) {
      right = right && narrow<F16>(f16, mode).bits == (std::isnan(f16) ? 0x7fff : half) &&
              narrow<Bf16>(bf16, mode).bits == (std::isnan(bf16) ? 0x7fff : half);
    }
    if (!right) FAIL("half " << bits);
  }
}

TEST_CASE("ptx numbers between two halves go to the right one in each mode") {
  // Walks up f16, denormals included: the neighbours of the point between two of them.
  for (std::uint16_t low = 0; low < 0x7bff; ++low) {
    const double a = widen(F16{low}), b = widen(F16{static_cast<std::uint16_t>(low + 1)});
    const double middle = (a + b) / 2, below = std::nextafter(middle, a),
                 above = std::nextafter(middle, b);
    const auto high = static_cast<std::uint16_t>(low + 1), even = low % 2 == 0 ? low : high;
    const bool right = narrow<F16>(middle, Rounding::kNearestEven).bits == even &&
                       narrow<F16>(below, Rounding::kNearestEven).bits == low &&
                       narrow<F16>(above, Rounding::kNearestEven).bits == high &&
                       narrow<F16>(middle, Rounding::kNearestAway).bits == high &&
                       narrow<F16>(below, Rounding::kNearestAway).bits == low &&
                       narrow<F16>(above, Rounding::kZero).bits == low &&
                       narrow<F16>(below, Rounding::kUp).bits == high &&
                       narrow<F16>(above, Rounding::kDown).bits == low &&
                       narrow<F16>(-below, Rounding::kDown).bits == (high | 0x8000) &&
                       narrow<F16>(-above, Rounding::kUp).bits == (low | 0x8000);
    if (!right) FAIL("between " << a << " and " << b);
  }
}

TEST_CASE("ptx rounding of doubles to f32 agrees with the processor's") {
  std::mt19937_64 random(1);
  for (int k = 0; k < 100000; ++k) {
    // Any bit pattern, and exponents near those of f32 half of the time.
    std::uint64_t bits = random();
    if (k % 2) bits = (bits & ~(0x7ffull << 52)) | (1023 - 152 + bits % 300) << 52;
    const double x = std::bit_cast<double>(bits);
    if (std::isnan(x)) continue;
    const std::uint32_t expected = std::bit_cast<std::uint32_t>(static_cast<float>(x));
    if (narrow<F32>(x, Rounding::kNearestEven).bits != expected) FAIL("double " << x);
  }
}

TEST_CASE("ptx mov takes registers apart and puts them together") {
  check_cases({
      {"mov.u32 %r0, %r1;", {0x12345678}, 0x12345678},
      {"mov.u16 %h0, 65535;", {}, 0xffff},
      {"mov.u16 %h0, -2;", {}, 0xfffe},
      {"mov.f32 %r0, 0f3F800000;", {}, f(1)},
      {"mov.f32 %r0, -1.5;", {}, f(-1.5f)},
      {"mov.f64 %d0, 0d3FF8000000000000;", {}, d(1.5)},
      {"mov.f64 %d0, 1.0e-2;", {}, d(0.01)},
      {"mov.b32 %r0, 0x8000ffffU;", {}, 0x8000ffff},
      {"mov.b32 %r0, 0b101;", {}, 5},
      {"mov.b32 %r0, 017;", {}, 15},
      {"mov.pred %p0, %p1;", {1}, 1},
      {"mov.pred %p0, %p1;", {0}, 0},
      {"mov.pred %p0, !%p1;", {0}, 1},
      {"mov.b64 %d0, {%r1, %r2};", {0x11111111, 0x22222222}, 0x2222222211111111},
      {"mov.b32 %r0, {%h1, %h2};", {0x1111, 0x2222}, 0x22221111},
      {"mov.b32 %r0, {5, %h1};", {0x2222}, 0x22220005},
      {"mov.b64 %d0, {%h1, %h2, %h3, %h4};", {1, 2, 3, 4}, 0x0004000300020001},
      {"mov.b64 {%r0, %r2}, %d1;", {0x2222222211111111}, 0x11111111},
      {"mov.b64 {%r2, %r0}, %d1;", {0x2222222211111111}, 0x22222222},
      {"mov.b64 {_, %r0}, %d1;", {0x2222222211111111}, 0x22222222},
      {"mov.b32 {%h2, %h0}, %r1;", {0x22221111}, 0x2222},
      {"mov.b64 {%h1, %h2, %h0, %h3}, %d1;", {0x0004000300020001}, 3},
      {"mov.u32 %r0, WARP_SZ;", {}, 32},
  });
}

TEST_CASE("ptx special registers") {
  check_cases({
      {"mov.u32 %r0, %tid.x;", {}, 100},
      {"mov.u32 %r0, %tid.z;", {}, 102},
      {"mov.u32 %r0, %ntid.x;", {}, 103},
      {"mov.u32 %r0, %ctaid.y;", {}, 107},
      {"mov.u32 %r0, %nctaid.z;", {}, 111},
      {"add.s32 %r0, %tid.x, %ntid.y;", {}, 204},
  });
  Snippet lane;
  lane.world.lane = 7;
  CHECK(lane.run("mov.u32 %r0, %laneid;") == 7);
}

TEST_CASE("ptx cvta: generic addresses are those of the host") {
  Snippet snippet;
  const auto shared = reinterpret_cast<std::uintptr_t>(snippet.shared.data());
  CHECK(snippet.run("mov.u64 %d1, 16; cvta.shared.u64 %d0, %d1;") == shared + 16);
  CHECK(snippet.run("cvta.to.shared.u64 %d0, %d1;", {shared + 24}) == 24);
  CHECK(snippet.run("cvta.to.global.u64 %d0, %d1;", {0x123456789}) == 0x123456789);
  CHECK(snippet.run("cvta.global.u64 %d0, %d1;", {0x123456789}) == 0x123456789);
}

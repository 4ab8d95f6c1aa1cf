#include <cmath>
#include <cstdint>
#include <limits>

#include "tests/cuda_emu/ptx_snippet.h"
#include "tests/support/catch.h"

// Expected values are literals, or one plain C++ expression that does not go through the
// interpreter. f32 denormals: 0x00000001 is 2^-149, 0x007fffff the largest.
using namespace muonlab::ptx;

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

}  // namespace

TEST_CASE("ptx integer sums wrap around, or saturate") {
  check_cases({
      {"add.s32 %r0, %r1, %r2;", {s32(-5), 7}, 2},
      {"add.s32 %r0, %r1, %r2;", {0x7fffffff, 1}, 0x80000000},
      {"add.sat.s32 %r0, %r1, %r2;", {0x7fffffff, 1}, 0x7fffffff},
      {"add.sat.s32 %r0, %r1, %r2;", {0x80000000, s32(-1)}, 0x80000000},
      {"add.sat.s32 %r0, %r1, %r2;", {3, s32(-8)}, s32(-5)},
      {"add.u16 %h0, %h1, %h2;", {0xffff, 3}, 2},
      {"add.s64 %d0, %d1, %d2;", {0xffffffff, 1}, 0x100000000},
      {"add.u64 %d0, %d1, -1;", {0}, ~0ull},
      {"add.u16x2 %r0, %r1, %r2;", {0xffff0001, 0x00020003}, 0x00010004},
      {"sub.s32 %r0, %r1, %r2;", {3, 5}, s32(-2)},
      {"sub.s32 %r0, %r1, %r2;", {0x80000000, 1}, 0x7fffffff},
      {"sub.sat.s32 %r0, %r1, %r2;", {0x80000000, 1}, 0x80000000},
      {"sub.u64 %d0, %d1, %d2;", {0, 1}, ~0ull},
      {"sub.u16 %h0, %h1, %h2;", {1, 2}, 0xffff},
      {"sad.s32 %r0, %r1, %r2, %r3;", {s32(-5), 7, 100}, 112},
      {"sad.s32 %r0, %r1, %r2, %r3;", {0x7fffffff, 0x80000000, 0}, 0xffffffff},
      {"sad.u32 %r0, %r1, %r2, %r3;", {2, 0xfffffffe, 1}, 0xfffffffd},
      {"sad.u64 %d0, %d1, %d2, %d3;", {9, 2, 1}, 8},
      {"abs.s32 %r0, %r1;", {s32(-7)}, 7},
      {"abs.s32 %r0, %r1;", {0x80000000}, 0x80000000},
      {"abs.s64 %d0, %d1;", {s64(-9)}, 9},
      {"abs.s16 %h0, %h1;", {s16(-3)}, 3},
      {"neg.s32 %r0, %r1;", {5}, s32(-5)},
      {"neg.s64 %d0, %d1;", {1}, ~0ull},
      {"neg.s16 %h0, %h1;", {0x8000}, 0x8000},
  });
}

TEST_CASE("ptx carries go from one sum to the next") {
  check_cases({
      {"add.cc.u32 %r0, %r1, %r2; addc.u32 %r0, 0, 0;", {0xffffffff, 1}, 1},
      {"add.cc.u32 %r0, %r1, %r2; addc.u32 %r0, 0, 0;", {0xfffffffe, 1}, 0},
      {"add.cc.u32 %r0, %r1, %r2; addc.cc.u32 %r0, %r3, %r1; addc.u32 %r0, 0, 0;",
       {0xffffffff, 1, 0},
       1},
      {"add.cc.u32 %r0, %r1, %r2; add.u32 %r3, %r1, 5; addc.u32 %r0, 7, 0;", {0xffffffff, 1}, 8},
      {"add.cc.s64 %d0, %d1, %d2; addc.s64 %d0, 0, 0;", {~0ull, 1}, 1},
      {"sub.cc.u32 %r0, %r1, %r2; subc.u32 %r0, 0, 0;", {1, 2}, 0xffffffff},
      {"sub.cc.u32 %r0, %r1, %r2; subc.u32 %r0, 9, 2;", {2, 2}, 7},
      {"sub.cc.u32 %r0, %r1, %r2; subc.cc.u32 %r0, 0, 0; subc.u32 %r0, 10, 0;", {0, 1}, 9},
      {"mad.lo.cc.u32 %r0, %r1, %r2, %r3; addc.u32 %r0, 0, 0;", {0x10001, 0xffff, 1}, 1},
      {"mad.lo.cc.u32 %r0, %r1, %r2, %r3; addc.u32 %r0, 0, 0;", {0x10001, 0xffff, 0}, 0},
      {"add.cc.u32 %r0, %r1, 1; madc.hi.u32 %r0, %r2, %r3, 100;", {0xffffffff, 0x80000000, 4}, 103},
      {"add.cc.u32 %r0, %r1, 1; madc.lo.u32 %r0, %r2, %r3, 100;", {0xffffffff, 3, 4}, 113},
      {"add.cc.u32 %r0, 0, 1; madc.hi.cc.u32 %r0, %r1, %r1, %r1; addc.u32 %r0, 0, 0;",
       {0xffffffff},
       1},
      // A product of 128 bits out of four of 64, as compilers write it: (2^64-1)^2 = 2^128-2^65+1.
      {"mul.lo.u64 %d0, %d1, %d1; mul.hi.u64 %d0, %d1, %d1;", {~0ull}, ~0ull - 1},
  });
}

TEST_CASE("ptx integer products: low, high and wide") {
  check_cases({
      {"mul.lo.s32 %r0, %r1, %r2;", {s32(-3), 7}, s32(-21)},
      {"mul.lo.u32 %r0, %r1, %r2;", {0x10000, 0x10001}, 0x10000},
      {"mul.hi.s32 %r0, %r1, %r2;", {s32(-1), 5}, 0xffffffff},
      {"mul.hi.u32 %r0, %r1, %r2;", {0xffffffff, 5}, 4},
      {"mul.hi.s64 %d0, %d1, %d2;", {s64(-2), 3}, ~0ull},
      {"mul.hi.u64 %d0, %d1, %d2;", {1ull << 63, 6}, 3},
      {"mul.lo.u16 %h0, %h1, %h2;", {0x100, 0x101}, 0x100},
      {"mul.hi.s16 %h0, %h1, %h2;", {s16(-2), 0x4000}, s16(-1)},
      {"mul.wide.s32 %d0, %r1, %r2;", {s32(-3), 7}, s64(-21)},
      {"mul.wide.u32 %d0, %r1, %r2;", {0xffffffff, 0xffffffff}, 0xfffffffe00000001},
      {"mul.wide.s16 %r0, %h1, %h2;", {s16(-300), 300}, s32(-90000)},
      {"mul.wide.u16 %r0, %h1, %h2;", {0xffff, 0xffff}, 0xfffe0001},
      {"mad.lo.s32 %r0, %r1, %r2, %r3;", {s32(-3), 7, 1}, s32(-20)},
      {"mad.lo.u64 %d0, %d1, %d2, %d3;", {1ull << 33, 1ull << 31, 5}, 5},
      {"mad.hi.u32 %r0, %r1, %r2, %r3;", {0x80000000, 6, 10}, 13},
      {"mad.hi.sat.s32 %r0, %r1, %r2, %r3;", {0x40000000, 8, 0x7fffffff}, 0x7fffffff},
      {"mad.hi.sat.s32 %r0, %r1, %r2, %r3;", {s32(-0x40000000), 8, 0x80000001}, 0x80000000},
      {"mad.wide.u32 %d0, %r1, %r2, %d3;", {0xffffffff, 2, 5}, 0x200000003},
      {"mad.wide.s32 %d0, %r1, %r2, %d3;", {s32(-2), 3, 5}, s64(-1)},
      {"mad.wide.s16 %r0, %h1, %h2, %r3;", {s16(-2), 3, 5}, s32(-1)},
      {"mul24.lo.u32 %r0, %r1, %r2;", {0xff000003, 5}, 15},
      {"mul24.lo.s32 %r0, %r1, %r2;", {0x00ffffff, 5}, s32(-5)},
      {"mul24.hi.u32 %r0, %r1, %r2;", {0x00800000, 0x00020000}, 0x01000000},
      {"mad24.lo.s32 %r0, %r1, %r2, %r3;", {0x00ffffff, 5, 6}, 1},
      {"dp4a.s32.s32 %r0, %r1, %r2, %r3;",
       {0xff020304, 0x05060708, 100},
       static_cast<std::uint64_t>(100 - 5 + 12 + 21 + 32)},
      {"dp4a.u32.u32 %r0, %r1, %r2, %r3;", {0xff000000, 0xff000000, 1}, 65026},
      {"dp4a.s32.u32 %r0, %r1, %r2, %r3;", {0xff000000, 0xff000000, 0}, s32(-255)},
      {"dp4a.u32.s32 %r0, %r1, %r2, %r3;", {0xfe000000, 0xff000000, 0}, s32(-254)},
  });
}

TEST_CASE("ptx integer division") {
  check_cases({
      {"div.s32 %r0, %r1, %r2;", {s32(-7), 2}, s32(-3)},
      {"div.u32 %r0, %r1, %r2;", {s32(-7), 2}, 0x7ffffffc},
      {"div.s64 %d0, %d1, %d2;", {s64(-7), s64(-2)}, 3},
      {"div.u64 %d0, %d1, %d2;", {~0ull, 16}, 0x0fffffffffffffff},
      {"div.s16 %h0, %h1, %h2;", {s16(-100), 7}, s16(-14)},
      {"div.s32 %r0, %r1, %r2;", {0x80000000, s32(-1)}, 0x80000000},
      {"div.u32 %r0, %r1, %r2;", {5, 0}, 0xffffffff},
      {"rem.s32 %r0, %r1, %r2;", {s32(-7), 2}, s32(-1)},
      {"rem.s32 %r0, %r1, %r2;", {7, s32(-4)}, 3},
      {"rem.u32 %r0, %r1, %r2;", {s32(-7), 10}, 9},
      {"rem.s64 %d0, %d1, %d2;", {s64(-9), 5}, s64(-4)},
      {"rem.u64 %d0, %d1, %d2;", {~0ull, 10}, 5},
      {"rem.s32 %r0, %r1, %r2;", {0x80000000, s32(-1)}, 0},
      {"rem.u32 %r0, %r1, %r2;", {5, 0}, 5},
  });
}

TEST_CASE("ptx f32 sums and products round as they are told") {
  // 2^-24 is half a unit in the last place of 1.
  const float tiny = 0x1p-24f;
  check_cases({
      {"add.f32 %r0, %r1, %r2;", {f(1.5f), f(2.25f)}, f(3.75f)},
      {"add.rn.f32 %r0, %r1, %r2;", {f(1), f(tiny)}, f(1)},
      {"add.rn.f32 %r0, %r1, %r2;", {f(1 + 0x1p-23f), f(tiny)}, f(1 + 0x1p-22f)},
      {"add.rz.f32 %r0, %r1, %r2;", {f(1 + 0x1p-23f), f(tiny)}, f(1 + 0x1p-23f)},
      {"add.rp.f32 %r0, %r1, %r2;", {f(1), f(tiny)}, f(1 + 0x1p-23f)},
      {"add.rm.f32 %r0, %r1, %r2;", {f(-1), f(-tiny)}, f(-1 - 0x1p-23f)},
      {"add.rz.f32 %r0, %r1, %r2;", {f(-1), f(-tiny)}, f(-1)},
      {"add.rm.f32 %r0, %r1, %r2;", {f(1), f(-1)}, kMinusZero},
      {"add.f32 %r0, %r1, %r2;", {f(1), f(-1)}, 0},
      {"add.f32 %r0, %r1, %r2;", {kInfinity, f(-kInf)}, kNan},
      {"add.f32 %r0, %r1, %r2;", {0x7fa00000, 0}, kNan},
      {"add.f32 %r0, %r1, %r2;", {f(3e38f), f(3e38f)}, kInfinity},
      {"add.rz.f32 %r0, %r1, %r2;", {f(3e38f), f(3e38f)}, 0x7f7fffff},
      {"add.f32 %r0, %r1, %r2;", {1, 2}, 3},
      {"add.ftz.f32 %r0, %r1, %r2;", {1, f(1)}, f(1)},
      {"add.ftz.f32 %r0, %r1, %r2;", {0x80000001, 0x80000001}, kMinusZero},
      {"add.ftz.f32 %r0, %r1, %r2;", {0x00800001, 0x80800000}, 0},
      {"add.f32 %r0, %r1, %r2;", {0x00800001, 0x80800000}, 1},
      {"add.sat.f32 %r0, %r1, %r2;", {f(0.75f), f(0.5f)}, f(1)},
      {"add.sat.f32 %r0, %r1, %r2;", {f(-3), f(1)}, 0},
      {"add.sat.f32 %r0, %r1, %r2;", {kNan, f(1)}, 0},
      {"add.sat.f32 %r0, %r1, %r2;", {f(0.25f), f(0.5f)}, f(0.75f)},
      {"sub.f32 %r0, %r1, %r2;", {f(1), f(3)}, f(-2)},
      {"sub.rp.f32 %r0, %r1, %r2;", {f(1), f(-tiny)}, f(1 + 0x1p-23f)},
      {"sub.sat.f32 %r0, %r1, %r2;", {f(1), f(3)}, 0},
      {"mul.f32 %r0, %r1, %r2;", {f(3), f(-0.5f)}, f(-1.5f)},
      {"mul.f32 %r0, %r1, %r2;", {0, kInfinity}, kNan},
      {"mul.rn.f32 %r0, %r1, %r2;", {f(1 + 0x1p-12f), f(1 + 0x1p-12f)}, f(1 + 0x1p-11f)},
      {"mul.rp.f32 %r0, %r1, %r2;", {f(1 + 0x1p-12f), f(1 + 0x1p-12f)}, f(1 + 0x1p-11f + 0x1p-23f)},
      {"mul.rz.f32 %r0, %r1, %r2;", {f(-(1 + 0x1p-12f)), f(1 + 0x1p-12f)}, f(-(1 + 0x1p-11f))},
      {"mul.rm.f32 %r0, %r1, %r2;",
       {f(-(1 + 0x1p-12f)), f(1 + 0x1p-12f)},
       f(-(1 + 0x1p-11f + 0x1p-23f))},
      {"mul.f32 %r0, %r1, %r2;", {f(0x1p-100f), f(0x1p-40f)}, 0x200},
      {"mul.ftz.f32 %r0, %r1, %r2;", {f(0x1p-100f), f(-0x1p-40f)}, kMinusZero},
      {"mul.ftz.sat.f32 %r0, %r1, %r2;", {f(2), f(4)}, f(1)},
      {"mul.f32 %r0, %r1, 0f40000000;", {f(21)}, f(42)},
      {"mul.f32 %r0, %r1, 2.5;", {f(4)}, f(10)},
  });
}

TEST_CASE("ptx fma rounds once") {
  const float a = 1 + 0x1p-12f;  // a a = 1 + 2^-11 + 2^-24
  check_cases({
      {"fma.rn.f32 %r0, %r1, %r1, %r2;", {f(a), f(-(1 + 0x1p-11f))}, f(0x1p-24f)},
      {"mad.rn.f32 %r0, %r1, %r1, %r2;", {f(a), f(-(1 + 0x1p-11f))}, f(0x1p-24f)},
      {"fma.rn.f32 %r0, %r1, %r2, %r3;", {f(2), f(3), f(4)}, f(10)},
      {"fma.rz.f32 %r0, %r1, %r1, %r2;", {f(a), f(1)}, f(2 + 0x1p-11f)},
      {"fma.rp.f32 %r0, %r1, %r1, %r2;", {f(a), f(1)}, f(2 + 0x1p-11f + 0x1p-22f)},
      {"fma.rm.f32 %r0, %r1, %r2, %r3;", {f(-a), f(a), f(-1)}, f(-(2 + 0x1p-11f + 0x1p-22f))},
      {"fma.rn.ftz.f32 %r0, %r1, %r2, %r3;", {f(1), f(1), 0x80000001}, f(1)},
      {"fma.rn.ftz.f32 %r0, %r1, %r2, %r3;", {f(0x1p-100f), f(0x1p-40f), 0}, 0},
      {"fma.rn.sat.f32 %r0, %r1, %r2, %r3;", {f(2), f(3), f(4)}, f(1)},
      {"fma.rn.f32 %r0, %r1, %r2, %r3;", {kInfinity, 0, f(1)}, kNan},
      {"fma.rn.f64 %d0, %d1, %d2, %d3;",
       {d(1 + 0x1p-30), d(1 + 0x1p-30), d(-(1 + 0x1p-29))},
       d(0x1p-60)},
      {"fma.rz.f64 %d0, %d1, %d2, %d3;", {d(1 + 0x1p-30), d(1 + 0x1p-30), d(0)}, d(1 + 0x1p-29)},
      {"fma.rp.f64 %d0, %d1, %d2, %d3;",
       {d(1 + 0x1p-30), d(1 + 0x1p-30), d(0)},
       d(1 + 0x1p-29 + 0x1p-52)},
  });
}

TEST_CASE("ptx f64 arithmetic") {
  check_cases({
      {"add.f64 %d0, %d1, %d2;", {d(0.1), d(0.2)}, d(0.1 + 0.2)},
      {"add.rz.f64 %d0, %d1, %d2;", {d(1 + 0x1p-52), d(0x1p-53)}, d(1 + 0x1p-52)},
      {"add.rn.f64 %d0, %d1, %d2;", {d(1 + 0x1p-52), d(0x1p-53)}, d(1 + 0x1p-51)},
      {"add.f64 %d0, %d1, %d2;", {1, 2}, 3},
      {"sub.f64 %d0, %d1, %d2;", {d(1), d(3)}, d(-2)},
      {"mul.f64 %d0, %d1, 0d3FE0000000000000;", {d(3)}, d(1.5)},
      {"mul.rm.f64 %d0, %d1, %d1;", {d(1 + 0x1p-30)}, d(1 + 0x1p-29)},
      {"div.rn.f64 %d0, %d1, %d2;", {d(1), d(3)}, d(1.0 / 3)},
      {"div.rp.f64 %d0, %d1, %d2;", {d(1), d(3)}, d(std::nextafter(1.0 / 3, 1.0))},
      {"rcp.rn.f64 %d0, %d1;", {d(3)}, d(1.0 / 3)},
      {"rcp.approx.ftz.f64 %d0, %d1;", {d(4)}, d(0.25)},
      {"rsqrt.approx.f64 %d0, %d1;", {d(16)}, d(0.25)},
      {"sqrt.rn.f64 %d0, %d1;", {d(2)}, d(1.4142135623730951)},
      {"sqrt.rp.f64 %d0, %d1;", {d(2)}, d(1.4142135623730951)},
      {"sqrt.rm.f64 %d0, %d1;", {d(2)}, d(1.414213562373095)},
      {"abs.f64 %d0, %d1;", {d(-3)}, d(3)},
      {"neg.f64 %d0, %d1;", {d(-0.0)}, d(0)},
      {"min.f64 %d0, %d1, %d2;", {d(1), d(-2)}, d(-2)},
      {"max.f64 %d0, %d1, %d2;", {d(1), d(-2)}, d(1)},
      {"copysign.f64 %d0, %d1, %d2;", {d(-1), d(5)}, d(-5)},
  });
}

TEST_CASE("ptx division and roots of f32") {
  check_cases({
      {"div.rn.f32 %r0, %r1, %r2;", {f(1), f(3)}, 0x3eaaaaab},
      {"div.rz.f32 %r0, %r1, %r2;", {f(1), f(3)}, 0x3eaaaaaa},
      {"div.rm.f32 %r0, %r1, %r2;", {f(-1), f(3)}, 0xbeaaaaab},
      {"div.rp.f32 %r0, %r1, %r2;", {f(-1), f(3)}, 0xbeaaaaaa},
      {"div.full.f32 %r0, %r1, %r2;", {f(6), f(4)}, f(1.5f)},
      {"div.approx.f32 %r0, %r1, %r2;", {f(6), f(-4)}, f(-1.5f)},
      {"div.approx.ftz.f32 %r0, %r1, %r2;", {1, f(1)}, 0},
      {"div.rn.f32 %r0, %r1, %r2;", {1, f(1)}, 1},
      {"div.rn.f32 %r0, %r1, %r2;", {f(1), 0}, kInfinity},
      {"div.rn.f32 %r0, %r1, %r2;", {f(-1), 0}, f(-kInf)},
      {"div.rn.f32 %r0, %r1, %r2;", {0, 0}, kNan},
      {"rcp.rn.f32 %r0, %r1;", {f(3)}, 0x3eaaaaab},
      {"rcp.rz.f32 %r0, %r1;", {f(3)}, 0x3eaaaaaa},
      {"rcp.approx.f32 %r0, %r1;", {f(-4)}, f(-0.25f)},
      {"rcp.approx.ftz.f32 %r0, %r1;", {0x80000001}, f(-kInf)},
      {"rcp.rn.f32 %r0, %r1;", {f(-kInf)}, kMinusZero},
      {"sqrt.rn.f32 %r0, %r1;", {f(2)}, 0x3fb504f3},
      {"sqrt.rp.f32 %r0, %r1;", {f(2)}, 0x3fb504f4},
      {"sqrt.rm.f32 %r0, %r1;", {f(2)}, 0x3fb504f3},
      {"sqrt.approx.f32 %r0, %r1;", {f(9)}, f(3)},
      {"sqrt.approx.ftz.f32 %r0, %r1;", {1}, 0},
      {"sqrt.rn.f32 %r0, %r1;", {f(-1)}, kNan},
      {"sqrt.rn.f32 %r0, %r1;", {kMinusZero}, kMinusZero},
      {"rsqrt.approx.f32 %r0, %r1;", {f(16)}, f(0.25f)},
      {"rsqrt.approx.ftz.f32 %r0, %r1;", {1}, kInfinity},
      {"rsqrt.approx.f32 %r0, %r1;", {f(-1)}, kNan},
  });
}

TEST_CASE("ptx functions that are approximate on a device") {
  check_cases({
      {"ex2.approx.f32 %r0, %r1;", {f(-3)}, f(0.125f)},
      {"ex2.approx.f32 %r0, %r1;", {f(0.5f)}, 0x3fb504f3},
      {"ex2.approx.f32 %r0, %r1;", {f(-130)}, 0x00080000},
      {"ex2.approx.ftz.f32 %r0, %r1;", {f(-130)}, 0},
      {"ex2.approx.f32 %r0, %r1;", {f(-kInf)}, 0},
      {"ex2.approx.f32 %r0, %r1;", {f(128)}, kInfinity},
      {"lg2.approx.f32 %r0, %r1;", {f(8)}, f(3)},
      {"lg2.approx.f32 %r0, %r1;", {1}, f(-149)},
      {"lg2.approx.ftz.f32 %r0, %r1;", {1}, f(-kInf)},
      {"lg2.approx.f32 %r0, %r1;", {f(-1)}, kNan},
      {"sin.approx.f32 %r0, %r1;", {f(0.5f)}, f(0.47942554f)},
      {"sin.approx.ftz.f32 %r0, %r1;", {0x80000001}, kMinusZero},
      {"cos.approx.f32 %r0, %r1;", {f(0.5f)}, f(0.87758255f)},
      {"cos.approx.ftz.f32 %r0, %r1;", {kInfinity}, kNan},
      {"tanh.approx.f32 %r0, %r1;", {f(0.5f)}, f(0.46211717f)},
      {"tanh.approx.f32 %r0, %r1;", {f(kInf)}, f(1)},
      {"ex2.approx.f16 %h0, %h1;", {0xc000}, 0x3400},                 // 2^-2
      {"tanh.approx.f16x2 %r0, %r1;", {0x7c00fc00}, 0x3c00bc00},      // of infinities: 1, -1
      {"ex2.approx.ftz.bf16x2 %r0, %r1;", {0x40003f80}, 0x40804000},  // 2, 1: 4, 2
  });
}

TEST_CASE("ptx signs, extremes and kinds of numbers") {
  check_cases({
      {"abs.f32 %r0, %r1;", {f(-2)}, f(2)},
      {"abs.ftz.f32 %r0, %r1;", {0x80000001}, 0},
      {"neg.f32 %r0, %r1;", {0}, kMinusZero},
      {"neg.ftz.f32 %r0, %r1;", {1}, kMinusZero},
      {"copysign.f32 %r0, %r1, %r2;", {f(-1), f(5)}, f(-5)},
      {"copysign.f32 %r0, %r1, %r2;", {f(1), f(-5)}, f(5)},
      {"min.s32 %r0, %r1, %r2;", {s32(-1), 1}, s32(-1)},
      {"min.u32 %r0, %r1, %r2;", {s32(-1), 1}, 1},
      {"max.s32 %r0, %r1, %r2;", {s32(-1), 1}, 1},
      {"max.u32 %r0, %r1, %r2;", {s32(-1), 1}, s32(-1)},
      {"max.s64 %d0, %d1, %d2;", {s64(-1), 1}, 1},
      {"min.u64 %d0, %d1, %d2;", {s64(-1), 1}, 1},
      {"min.s16 %h0, %h1, %h2;", {s16(-1), 1}, s16(-1)},
      {"max.u16x2 %r0, %r1, %r2;", {0x0001ffff, 0x00020003}, 0x0002ffff},
      {"max.s16x2 %r0, %r1, %r2;", {0x0001ffff, 0x00020003}, 0x00020003},
      {"min.f32 %r0, %r1, %r2;", {f(1), f(2)}, f(1)},
      {"max.f32 %r0, %r1, %r2;", {f(1), f(2)}, f(2)},
      {"min.f32 %r0, %r1, %r2;", {kNan, f(2)}, f(2)},
      {"max.f32 %r0, %r1, %r2;", {f(2), 0xffc00000}, f(2)},
      {"max.f32 %r0, %r1, %r2;", {0x7fc00000, 0xffc00000}, kNan},
      {"min.NaN.f32 %r0, %r1, %r2;", {f(1), 0x7fc00000}, kNan},
      {"max.NaN.f32 %r0, %r1, %r2;", {f(1), f(3)}, f(3)},
      {"min.f32 %r0, %r1, %r2;", {0, kMinusZero}, kMinusZero},
      {"max.f32 %r0, %r1, %r2;", {kMinusZero, 0}, 0},
      {"max.f32 %r0, %r1, %r2;", {0, kMinusZero}, 0},
      {"max.ftz.f32 %r0, %r1, %r2;", {1, 0x80000001}, 0},
      {"max.f32 %r0, %r1, %r2;", {1, 0x80000001}, 1},
      {"testp.finite.f32 %p0, %r1;", {0x7f7fffff}, 1},
      {"testp.finite.f32 %p0, %r1;", {kInfinity}, 0},
      {"testp.infinite.f32 %p0, %r1;", {f(-kInf)}, 1},
      {"testp.infinite.f32 %p0, %r1;", {kNan}, 0},
      {"testp.number.f32 %p0, %r1;", {kInfinity}, 1},
      {"testp.number.f32 %p0, %r1;", {kNan}, 0},
      {"testp.notanumber.f64 %p0, %d1;", {d(std::nan(""))}, 1},
      {"testp.notanumber.f32 %p0, %r1;", {f(1)}, 0},
      {"testp.normal.f32 %p0, %r1;", {0x00800000}, 1},
      {"testp.normal.f32 %p0, %r1;", {0x007fffff}, 0},
      {"testp.subnormal.f32 %p0, %r1;", {0x007fffff}, 1},
      {"testp.subnormal.f32 %p0, %r1;", {0}, 0},
  });
}

// f16: 1 is 0x3c00, a unit in its last place 2^-10. bf16: 1 is 0x3f80, a unit 2^-7.
TEST_CASE("ptx half precision rounds each result once") {
  check_cases({
      {"add.f16 %h0, %h1, %h2;", {0x3c00, 0x4000}, 0x4200},
      {"add.f16 %h0, %h1, %h2;", {0x3c00, 0x1000}, 0x3c00},  // 1 + 2^-11: a tie, to even
      {"add.f16 %h0, %h1, %h2;", {0x3c01, 0x1000}, 0x3c02},
      {"add.f16 %h0, %h1, %h2;", {0x7bff, 0x7bff}, 0x7c00},
      {"add.rn.f16 %h0, %h1, %h2;", {0x7c00, 0xfc00}, 0x7fff},
      {"add.f16 %h0, %h1, %h2;", {0x0001, 0x0001}, 0x0002},
      {"add.ftz.f16 %h0, %h1, %h2;", {0x0001, 0x8001}, 0x0000},
      {"add.ftz.f16 %h0, %h1, %h2;", {0x0001, 0x3c00}, 0x3c00},
      {"add.ftz.f16 %h0, %h1, %h2;", {0x0401, 0x8400}, 0x0000},
      {"add.sat.f16 %h0, %h1, %h2;", {0x3c00, 0x3c00}, 0x3c00},
      {"add.sat.f16 %h0, %h1, %h2;", {0xc000, 0x3c00}, 0x0000},
      {"add.sat.f16 %h0, %h1, %h2;", {0x7fff, 0x3c00}, 0x0000},
      {"sub.f16 %h0, %h1, %h2;", {0x3c00, 0x4000}, 0xbc00},
      {"sub.f16 %h0, %h1, %h1;", {0x3c00}, 0x0000},
      {"mul.f16 %h0, %h1, %h2;", {0x4200, 0xc000}, 0xc600},
      {"mul.f16 %h0, %h1, %h2;", {0x8000, 0x3c00}, 0x8000},
      {"mul.f16 %h0, %h1, %h2;", {0x0400, 0x3800}, 0x0200},  // 2^-15 is a denormal
      {"fma.rn.f16 %h0, %h1, %h2, %h3;", {0x4000, 0x4200, 0x4400}, 0x4900},
      // 3 * 683 = 2049, a tie between 2048 and 2050, and that much more or less by 2^-24.
      {"fma.rn.f16 %h0, %h1, %h2, %h3;", {0x4200, 0x6156, 0x0000}, 0x6800},
      {"fma.rn.f16 %h0, %h1, %h2, %h3;", {0x4200, 0x6156, 0x0001}, 0x6801},
      {"fma.rn.f16 %h0, %h1, %h2, %h3;", {0xc200, 0x6156, 0x8001}, 0xe801},
      {"fma.rn.relu.f16 %h0, %h1, %h2, %h3;", {0x3c00, 0xc000, 0x3c00}, 0x0000},
      {"fma.rn.bf16 %h0, %h1, %h2, %h3;", {0x4000, 0x4040, 0x4080}, 0x4120},
      // 1.5 (1 + 3/128) = 1.5 + 4.5/128, a tie, and that much more or less by 2^-133: f32 and
      // double alike are too short for that. 1.5 (1 + 1/128) is a tie too, with an odd number
      // below.
      {"fma.rn.bf16 %h0, %h1, %h2, %h3;", {0x3fc0, 0x3f83, 0x0000}, 0x3fc4},
      {"fma.rn.bf16 %h0, %h1, %h2, %h3;", {0x3fc0, 0x3f83, 0x0001}, 0x3fc5},
      {"fma.rn.bf16 %h0, %h1, %h2, %h3;", {0xbfc0, 0x3f83, 0x8001}, 0xbfc5},
      {"fma.rn.bf16 %h0, %h1, %h2, %h3;", {0x3fc0, 0x3f81, 0x0000}, 0x3fc2},
      {"fma.rn.bf16 %h0, %h1, %h2, %h3;", {0x3fc0, 0x3f81, 0x8001}, 0x3fc1},
      {"add.bf16 %h0, %h1, %h2;", {0x3f80, 0x3b80}, 0x3f80},
      {"add.bf16 %h0, %h1, %h2;", {0x3f81, 0x3b80}, 0x3f82},
      {"mul.bf16 %h0, %h1, %h2;", {0x3fc0, 0xc000}, 0xc040},
      {"mul.bf16 %h0, %h1, %h2;", {0x7f00, 0x7f00}, 0x7f80},
      {"sub.bf16x2 %r0, %r1, %r2;", {0x3f804000, 0x40003f80}, 0xbf803f80},
      {"add.f16x2 %r0, %r1, %r2;", {0x3c004000, 0x40003c00}, 0x42004200},
      {"mul.bf16x2 %r0, %r1, %r2;", {0x40003f80, 0x40403f00}, 0x40c03f00},
      {"fma.rn.bf16x2 %r0, %r1, %r2, %r3;", {0x40003f80, 0x40404000, 0x3f803f80}, 0x40e04040},
      {"fma.rn.f16x2 %r0, %r1, %r2, %r3;", {0x3c004000, 0x40004200, 0x3c000000}, 0x42004600},
      {"fma.rn.relu.bf16x2 %r0, %r1, %r2, %r3;", {0xbf803f80, 0x3f803f80, 0}, 0x00003f80},
      {"neg.bf16 %h0, %h1;", {0x3f80}, 0xbf80},
      {"neg.f16x2 %r0, %r1;", {0x3c00bc00}, 0xbc003c00},
      {"abs.bf16x2 %r0, %r1;", {0xbf803f80}, 0x3f803f80},
      {"abs.f16 %h0, %h1;", {0xfc00}, 0x7c00},
      {"min.f16 %h0, %h1, %h2;", {0x3c00, 0xbc00}, 0xbc00},
      {"max.bf16 %h0, %h1, %h2;", {0x3f80, 0x7fc0}, 0x3f80},
      {"max.NaN.bf16 %h0, %h1, %h2;", {0x3f80, 0x7fc0}, 0x7fff},
      {"max.f16x2 %r0, %r1, %r2;", {0x3c00bc00, 0x40008000}, 0x40008000},
      {"min.bf16x2 %r0, %r1, %r2;", {0x3f80bf80, 0x40000000}, 0x3f80bf80},
  });
}

TEST_CASE("ptx logic and shifts") {
  check_cases({
      {"and.b32 %r0, %r1, %r2;", {0xf0f0, 0xff00}, 0xf000},
      {"and.b64 %d0, %d1, -4294967296;", {0x123456789abcdef0}, 0x1234567800000000},
      {"or.b32 %r0, %r1, %r2;", {0xf0f0, 0xff00}, 0xfff0},
      {"or.b16 %h0, %h1, %h2;", {0x8001, 0x10}, 0x8011},
      {"xor.b32 %r0, %r1, %r2;", {0xf0f0, 0xff00}, 0x0ff0},
      {"xor.b64 %d0, %d1, -1;", {1}, ~0ull - 1},
      {"not.b32 %r0, %r1;", {1}, 0xfffffffe},
      {"not.b16 %h0, %h1;", {1}, 0xfffe},
      {"cnot.b32 %r0, %r1;", {0}, 1},
      {"cnot.b32 %r0, %r1;", {8}, 0},
      {"and.pred %p0, %p1, %p2;", {1, 1}, 1},
      {"and.pred %p0, %p1, %p2;", {1, 0}, 0},
      {"or.pred %p0, %p1, %p2;", {1, 0}, 1},
      {"or.pred %p0, %p1, %p2;", {0, 0}, 0},
      {"xor.pred %p0, %p1, %p2;", {1, 1}, 0},
      {"xor.pred %p0, %p1, !%p2;", {1, 1}, 1},
      {"not.pred %p0, %p1;", {1}, 0},
      {"not.pred %p0, %p1;", {0}, 1},
      {"lop3.b32 %r0, %r1, %r2, %r3, 0x96;", {0xf0, 0xcc, 0xaa}, 0xf0 ^ 0xcc ^ 0xaa},
      {"lop3.b32 %r0, %r1, %r2, %r3, 0xe2;", {0xf0, 0xcc, 0xaa}, (0xf0 & 0xcc) | (~0xccu & 0xaa)},
      {"lop3.b32 %r0, %r1, %r2, %r3, 0x01;", {0xf0, 0xcc, 0xaa}, 0xffffff01},
      {"shl.b32 %r0, %r1, %r2;", {3, 30}, 0xc0000000},
      {"shl.b32 %r0, %r1, %r2;", {3, 32}, 0},
      {"shl.b32 %r0, %r1, %r2;", {3, 0xffffffff}, 0},
      {"shl.b64 %d0, %d1, %r2;", {1, 63}, 1ull << 63},
      {"shl.b64 %d0, %d1, 64;", {1}, 0},
      {"shl.b16 %h0, %h1, 15;", {3}, 0x8000},
      {"shr.u32 %r0, %r1, %r2;", {0x80000000, 31}, 1},
      {"shr.u32 %r0, %r1, %r2;", {0x80000000, 32}, 0},
      {"shr.s32 %r0, %r1, %r2;", {0x80000000, 4}, 0xf8000000},
      {"shr.s32 %r0, %r1, %r2;", {0x80000000, 77}, 0xffffffff},
      {"shr.s32 %r0, %r1, %r2;", {0x7fffffff, 77}, 0},
      {"shr.u64 %d0, %d1, %r2;", {1ull << 63, 60}, 8},
      {"shr.s64 %d0, %d1, %r2;", {1ull << 63, 62}, ~0ull - 1},
      {"shr.s16 %h0, %h1, 3;", {0x8000}, 0xf000},
      {"shr.b32 %r0, %r1, 1;", {0x80000001}, 0x40000000},
      {"shf.l.wrap.b32 %r0, %r1, %r2, %r3;", {0x80000000, 0x1, 33}, 3},
      {"shf.l.clamp.b32 %r0, %r1, %r2, %r3;", {0x80000001, 0x1, 33}, 0x80000001},
      {"shf.l.clamp.b32 %r0, %r1, %r2, %r3;", {0x80000000, 0x1, 4}, 0x18},
      {"shf.r.wrap.b32 %r0, %r1, %r2, %r3;", {0x80000000, 0x3, 33}, 0xc0000000},
      {"shf.r.clamp.b32 %r0, %r1, %r2, %r3;", {0x80000000, 0x3, 33}, 3},
      {"shf.r.clamp.b32 %r0, %r1, %r2, %r3;", {0x80000000, 0x3, 31}, 7},
  });
}

TEST_CASE("ptx bits are counted, found and moved") {
  check_cases({
      {"popc.b32 %r0, %r1;", {0xf0f01}, 9},
      {"popc.b64 %r0, %d1;", {~0ull}, 64},
      {"clz.b32 %r0, %r1;", {0x00010000}, 15},
      {"clz.b32 %r0, %r1;", {0}, 32},
      {"clz.b64 %r0, %d1;", {1}, 63},
      {"clz.b64 %r0, %d1;", {0}, 64},
      {"brev.b32 %r0, %r1;", {0x00000003}, 0xc0000000},
      {"brev.b64 %d0, %d1;", {0x12}, 0x4800000000000000},
      {"bfind.u32 %r0, %r1;", {0x00010000}, 16},
      {"bfind.u32 %r0, %r1;", {0}, 0xffffffff},
      {"bfind.s32 %r0, %r1;", {0xfffffff0}, 3},
      {"bfind.s32 %r0, %r1;", {0xffffffff}, 0xffffffff},
      {"bfind.shiftamt.u32 %r0, %r1;", {0x00010000}, 15},
      {"bfind.shiftamt.u32 %r0, %r1;", {0}, 0xffffffff},
      {"bfind.u64 %r0, %d1;", {1ull << 40}, 40},
      {"bfe.u32 %r0, %r1, %r2, %r3;", {0xabcdef01, 8, 12}, 0xdef},
      {"bfe.s32 %r0, %r1, %r2, %r3;", {0xabcdef01, 8, 12}, 0xfffffdef},
      {"bfe.s32 %r0, %r1, %r2, %r3;", {0x00000700, 8, 4}, 7},
      {"bfe.u32 %r0, %r1, %r2, %r3;", {0xabcdef01, 24, 20}, 0xab},
      {"bfe.s32 %r0, %r1, %r2, %r3;", {0xabcdef01, 24, 20}, 0xffffffab},
      {"bfe.s32 %r0, %r1, %r2, %r3;", {0x80000000, 40, 5}, 0xffffffff},
      {"bfe.u32 %r0, %r1, %r2, %r3;", {0xabcdef01, 8, 0}, 0},
      {"bfe.u32 %r0, %r1, %r2, %r3;", {0xabcdef01, 0x100, 8}, 0x01},
      {"bfe.s64 %d0, %d1, %r2, %r3;", {1ull << 63, 60, 4}, s64(-8)},
      {"bfi.b32 %r0, %r1, %r2, %r3, %r4;", {0xff, 0x12345678, 4, 8}, 0x12345ff8},
      {"bfi.b32 %r0, %r1, %r2, %r3, %r4;", {0x0, 0xffffffff, 28, 9}, 0x0fffffff},
      {"bfi.b32 %r0, %r1, %r2, %r3, %r4;", {0xff, 0x12345678, 4, 0}, 0x12345678},
      {"bfi.b64 %d0, %d1, %d2, %r3, %r4;", {5, 0, 40, 3}, 5ull << 40},
      {"prmt.b32 %r0, %r1, %r2, %r3;", {0x33221100, 0x77665544, 0x7531}, 0x77553311},
      {"prmt.b32 %r0, %r1, %r2, %r3;", {0x33228100, 0x77665544, 0x9018}, 0xff008100},
      {"prmt.b32.f4e %r0, %r1, %r2, %r3;", {0x33221100, 0x77665544, 1}, 0x44332211},
      {"prmt.b32.b4e %r0, %r1, %r2, %r3;", {0x33221100, 0x77665544, 1}, 0x66770011},
      {"prmt.b32.rc8 %r0, %r1, %r2, %r3;", {0x33221100, 0x77665544, 2}, 0x22222222},
      {"prmt.b32.rc8 %r0, %r1, %r2, %r3;", {0x3322ff00, 0x77665544, 1}, 0xffffffff},
      {"prmt.b32.ecl %r0, %r1, %r2, %r3;", {0x33221100, 0x77665544, 2}, 0x33222222},
      {"prmt.b32.ecr %r0, %r1, %r2, %r3;", {0x33221100, 0x77665544, 2}, 0x22221100},
      {"prmt.b32.rc16 %r0, %r1, %r2, %r3;", {0x33221100, 0x77665544, 1}, 0x33223322},
  });
}

TEST_CASE("ptx setp knows all comparisons") {
  // For each: of less, equal, greater, unordered those that make it true.
  struct Row {
    std::string name;
    std::array<bool, 4> holds;
  };
  const std::vector<Row> floats{{"eq", {0, 1, 0, 0}},  {"ne", {1, 0, 1, 0}},  {"lt", {1, 0, 0, 0}},
                                {"le", {1, 1, 0, 0}},  {"gt", {0, 0, 1, 0}},  {"ge", {0, 1, 1, 0}},
                                {"equ", {0, 1, 0, 1}}, {"neu", {1, 0, 1, 1}}, {"ltu", {1, 0, 0, 1}},
                                {"leu", {1, 1, 0, 1}}, {"gtu", {0, 0, 1, 1}}, {"geu", {0, 1, 1, 1}},
                                {"num", {1, 1, 1, 0}}, {"nan", {0, 0, 0, 1}}};
  const std::array<float, 4> left{1, 2, 3, std::nanf("")};
  for (const Row& row : floats) {
    for (std::size_t k = 0; k < 4; ++k) {
      const std::uint64_t expected = row.holds[k];
      check_cases({
          {"setp." + row.name + ".f32 %p0, %r1, %r2;", {f(left[k]), f(2)}, expected},
          {"setp." + row.name + ".f64 %p0, %d1, %d2;", {d(left[k]), d(2)}, expected},
      });
    }
  }
  const std::vector<Row> integers{{"eq", {0, 1, 0}}, {"ne", {1, 0, 1}}, {"lt", {1, 0, 0}},
                                  {"le", {1, 1, 0}}, {"gt", {0, 0, 1}}, {"ge", {0, 1, 1}}};
  for (const Row& row : integers) {
    for (int k = 0; k < 3; ++k) {
      const std::uint64_t expected = row.holds[static_cast<std::size_t>(k)];
      check_cases({
          {"setp." + row.name + ".s32 %p0, %r1, %r2;", {s32(k - 1), 0}, expected},
          {"setp." + row.name + ".s64 %p0, %d1, %d2;", {s64(k - 1), 0}, expected},
          {"setp." + row.name + ".s16 %p0, %h1, %h2;", {s16(k - 1), 0}, expected},
          {"setp." + row.name + ".u32 %p0, %r1, %r2;", {0x80000000u + k - 1, 0x80000000}, expected},
      });
    }
  }
  check_cases({
      {"setp.lo.u32 %p0, %r1, %r2;", {1, 0xffffffff}, 1},
      {"setp.ls.u32 %p0, %r1, %r2;", {0xffffffff, 0xffffffff}, 1},
      {"setp.hi.u64 %p0, %d1, %d2;", {~0ull, 1}, 1},
      {"setp.hs.u16 %p0, %h1, %h2;", {1, 0xffff}, 0},
      {"setp.lt.s32 %p0, %r1, %r2;", {1, 0xffffffff}, 0},
      {"setp.eq.b32 %p0, %r1, %r2;", {7, 7}, 1},
      {"setp.ne.b64 %p0, %d1, %d2;", {1ull << 40, 0}, 1},
      {"setp.eq.ftz.f32 %p0, %r1, %r2;", {1, 0}, 1},
      {"setp.eq.f32 %p0, %r1, %r2;", {1, 0}, 0},
      {"setp.eq.f32 %p0, %r1, %r2;", {kMinusZero, 0}, 1},
      {"setp.lt.bf16 %p0, %h1, %h2;", {0xbf80, 0x3f80}, 1},
      {"setp.gt.f16 %p0, %h1, %h2;", {0xbc00, 0x3c00}, 0},
      {"setp.gtu.f16 %p0, %h1, %h2;", {0x7fff, 0x3c00}, 1},
      {"setp.lt.f16x2 %p0|%p1, %r1, %r2;", {0x3c000000, 0x00003c00}, 1},
      {"setp.lt.f16x2 %p1|%p0, %r1, %r2;", {0x3c000000, 0x00003c00}, 0},
      {"setp.lt.and.s32 %p0, %r1, %r2, %p3;", {1, 2, 1}, 1},
      {"setp.lt.and.s32 %p0, %r1, %r2, %p3;", {1, 2, 0}, 0},
      {"setp.lt.and.s32 %p0, %r1, %r2, !%p3;", {1, 2, 0}, 1},
      {"setp.lt.or.s32 %p0, %r1, %r2, %p3;", {2, 1, 1}, 1},
      {"setp.lt.or.s32 %p0, %r1, %r2, %p3;", {2, 1, 0}, 0},
      {"setp.lt.xor.s32 %p0, %r1, %r2, %p3;", {1, 2, 1}, 0},
      {"setp.lt.xor.s32 %p0, %r1, %r2, %p3;", {2, 1, 1}, 1},
      {"setp.lt.s32 %p1|%p0, %r1, %r2;", {1, 2}, 0},
      {"setp.lt.s32 %p1|%p0, %r1, %r2;", {2, 1}, 1},
      {"setp.lt.and.s32 %p1|%p0, %r1, %r2, %p3;", {2, 1, 0}, 0},
  });
}

TEST_CASE("ptx set, selp and slct") {
  check_cases({
      {"set.lt.u32.s32 %r0, %r1, %r2;", {s32(-1), 1}, 0xffffffff},
      {"set.lt.u32.u32 %r0, %r1, %r2;", {s32(-1), 1}, 0},
      {"set.gt.s32.f32 %r0, %r1, %r2;", {f(2), f(1)}, 0xffffffff},
      {"set.eq.f32.f32 %r0, %r1, %r2;", {f(2), f(2)}, f(1)},
      {"set.eq.f32.f32 %r0, %r1, %r2;", {f(2), f(1)}, 0},
      {"set.eq.ftz.f32.f32 %r0, %r1, %r2;", {1, 0}, f(1)},
      {"set.ltu.f32.f64 %r0, %d1, %d2;", {d(std::nan("")), d(1)}, f(1)},
      {"set.eq.f16.f16 %h0, %h1, %h2;", {0x8000, 0}, 0x3c00},
      {"set.ne.bf16.bf16 %h0, %h1, %h2;", {0x3f80, 0}, 0x3f80},
      {"set.gt.f16x2.f16x2 %r0, %r1, %r2;", {0x3c000000, 0x00003c00}, 0x3c000000},
      {"set.le.bf16x2.bf16x2 %r0, %r1, %r2;", {0x3f800000, 0x00003f80}, 0x00003f80},
      {"set.gt.u32.f16x2 %r0, %r1, %r2;", {0x3c000000, 0x00003c00}, 0xffff0000},
      {"set.lt.and.u32.s32 %r0, %r1, %r2, %p3;", {1, 2, 0}, 0},
      {"set.lt.or.u32.s32 %r0, %r1, %r2, %p3;", {2, 1, 1}, 0xffffffff},
      {"selp.b32 %r0, %r1, %r2, %p3;", {5, 6, 1}, 5},
      {"selp.f32 %r0, %r1, %r2, %p3;", {5, 6, 0}, 6},
      {"selp.b64 %d0, %d1, %d2, %p3;", {5ull << 40, 6, 1}, 5ull << 40},
      {"selp.u16 %h0, %h1, %h2, %p3;", {5, 6, 0}, 6},
      {"selp.b32 %r0, %r1, %r2, !%p3;", {5, 6, 0}, 5},
      {"slct.u32.s32 %r0, %r1, %r2, %r3;", {5, 6, 0}, 5},
      {"slct.u32.s32 %r0, %r1, %r2, %r3;", {5, 6, s32(-1)}, 6},
      {"slct.f32.f32 %r0, %r1, %r2, %r3;", {5, 6, f(-0.0f)}, 5},
      {"slct.b64.f32 %d0, %d1, %d2, %r3;", {5, 6, f(-1e-40f)}, 6},
      {"slct.ftz.b64.f32 %d0, %d1, %d2, %r3;", {5, 6, f(-1e-40f)}, 5},
      {"slct.u32.f32 %r0, %r1, %r2, %r3;", {5, 6, kNan}, 6},
  });
}

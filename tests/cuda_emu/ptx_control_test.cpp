#include <cstdint>

#include "tests/cuda_emu/ptx_snippet.h"
#include "tests/support/catch.h"

using namespace muonlab::ptx;
using Barrier = ScriptedWorld::Barrier;

TEST_CASE("ptx guards and branches") {
  check_cases({
      {"mov.u32 %r0, 1; @%p1 mov.u32 %r0, 2;", {1}, 2},
      {"mov.u32 %r0, 1; @%p1 mov.u32 %r0, 2;", {0}, 1},
      {"mov.u32 %r0, 1; @!%p1 mov.u32 %r0, 2;", {0}, 2},
      {"mov.u32 %r0, 1; @!%p1 mov.u32 %r0, 2;", {1}, 1},
      {"mov.u32 %r0, 1; bra.uni $L; mov.u32 %r0, 2; $L: add.s32 %r0, %r0, 4;", {}, 5},
      {"mov.u32 %r0, 0; $L: add.s32 %r0, %r0, %r1; add.s32 %r1, %r1, -1; setp.gt.s32 %p1, %r1, 0;"
       "@%p1 bra $L;",
       {4},
       10},
      {"mov.u32 %r0, 1; @%p1 bra $L; mov.u32 %r0, 2; $L:", {0}, 2},
      // Labels and registers of inner braces are their own.
      {"mov.u32 %r0, 0; { .reg .b32 x; mov.u32 x, 3; bra L; add.s32 x, x, 9; L: add.s32 %r0, %r0, "
       "x; }"
       "{ .reg .b32 x; mov.u32 x, 40; bra L; add.s32 x, x, 9; L: add.s32 %r0, %r0, x; }",
       {},
       43},
      {"{ .reg .b32 %r0; mov.u32 %r0, 9; } mov.u32 %r0, %r1;", {4}, 4},
  });
}

TEST_CASE("ptx brx.idx takes the branch of its index") {
  const std::string code =
      "$T: .branchtargets $A, $B, $C;\n"
      "brx.idx.uni %r1, $T;\n"
      "$A: mov.u32 %r0, 10; bra $E;\n$B: mov.u32 %r0, 20; bra $E;\n$C: mov.u32 %r0, 30;\n$E:";
  check_cases({{code, {0}, 10}, {code, {1}, 20}, {code, {2}, 30}});
  CHECK_THROWS_WITH(evaluate(code, {3}), ContainsSubstring("beyond its list"));
}

TEST_CASE("ptx functions get their parameters and return their results") {
  const std::string functions =
      ".func (.param .b32 result) later(.param .b32 x);\n"
      ".func (.param .align 8 .b8 result[16]) pair(.param .b64 x, .param .b16 y) {\n"
      "  .reg .b64 %d<3>; .reg .b16 %h<2>; .reg .b32 %r<2>; .local .align 8 .b8 depot[8];\n"
      "  ld.param.b64 %d1, [x]; ld.param.u16 %h1, [y]; st.local.b64 [depot], %d1;\n"
      "  cvt.u32.u16 %r1, %h1; ld.local.b64 %d2, [depot];\n"
      "  st.param.b64 [result], %d2; st.param.b32 [result+8], %r1; ret;\n}\n"
      ".func (.param .b32 result) later(.param .b32 x) {\n"
      "  .reg .b32 %r<3>; .reg .b64 %d<2>;\n"
      "  ld.param.b32 %r1, [x];\n"
      "  { .param .b64 p0; .param .b16 p1; .param .align 8 .b8 r0[16];\n"
      "    st.param.b64 [p0], 7; st.param.b16 [p1], 5;\n"
      "    call.uni (r0), pair, (p0, p1); ld.param.b32 %r2, [r0+8]; }\n"
      "  mad.lo.s32 %r2, %r1, 100, %r2; st.param.b32 [result], %r2; ret;\n}\n"
      ".func nothing() { ret; }\n"
      ".func stop() { exit; }\n";
  const std::string call =
      "{ .param .b32 p; .param .b32 r; st.param.b32 [p], %r1;"
      "call (r), later, (p); ld.param.b32 %r0, [r]; }";
  Snippet snippet;
  CHECK(snippet.run(call, {3}, functions) == 305);
  // The caller's registers and variables are untouched.
  CHECK(snippet.run("mov.u32 %r2, 4;" + call + "add.s32 %r0, %r0, %r2;", {3}, functions) == 309);
  CHECK(snippet.run("mov.u32 %r0, 8; call nothing; add.s32 %r0, %r0, 1;", {}, functions) == 9);
  // exit ends the thread in a function as well: the result is never stored.
  snippet.run("st.global.u32 [%d8], 1; call stop; st.global.u32 [%d8], 2;", {}, functions);
  CHECK(snippet.memory[0] == std::byte{1});
  CHECK_THROWS_WITH(snippet.run("{ .param .b32 p; call nothing, (p); }", {}, functions),
                    ContainsSubstring("arguments"));
}

TEST_CASE("ptx ret, exit and trap end a thread") {
  Snippet snippet;
  for (const std::string end : {"ret;", "exit;", "@%p1 ret;"}) {
    snippet.memory[0] = std::byte{0};
    snippet.run("st.global.u8 [%d8], 1;" + end + "st.global.u8 [%d8], 2;", {1});
    CHECK(snippet.memory[0] == std::byte{1});
  }
  CHECK_THROWS_WITH(snippet.run("trap;"), ContainsSubstring("trapped: trap;"));
}

TEST_CASE("ptx barriers of the block") {
  for (const std::string barrier : {"bar.sync 0;", "barrier.sync 0;", "bar.cta.sync 0;",
                                    "barrier.cta.sync.aligned 0;", "barrier.sync.aligned 0;"}) {
    Snippet snippet;
    snippet.run(barrier);
    CHECK(snippet.world.barriers == std::vector<Barrier>{{BarrierKind::kSync, false}});
  }
  struct Row {
    std::string code;
    BarrierKind kind;
    int result;
    std::uint64_t expected;
  };
  const std::vector<Row> rows{
      {"bar.red.popc.u32 %r0, 0, %p1;", BarrierKind::kCount, 17, 17},
      {"bar.cta.red.and.pred %p0, 0, %p1;", BarrierKind::kAll, 1, 1},
      {"barrier.red.or.pred %p0, 0, %p1;", BarrierKind::kAny, 0, 0},
      {"barrier.cta.red.or.aligned.pred %p0, 0, %p1;", BarrierKind::kAny, 1, 1}};
  for (const Row& row : rows) {
    Snippet snippet;
    snippet.world.barrier_result = row.result;
    CHECK(snippet.run(row.code, {1}) == row.expected);
    CHECK(snippet.world.barriers == std::vector<Barrier>{{row.kind, true}});
  }
  CHECK_THROWS_WITH(evaluate("bar.sync 1;"), ContainsSubstring("barrier 0 only"));
  CHECK_THROWS_WITH(evaluate("bar.red.popc.u32 %r0, 1, %p1;", {1}),
                    ContainsSubstring("barrier 0 only"));
  CHECK_THROWS_WITH(evaluate("bar.sync 0, 64;"), ContainsSubstring("does not know"));
}

TEST_CASE("ptx shfl reads the lane that mode, distance and segment say") {
  struct Row {
    std::string mode;
    int lane;
    unsigned b, c;
    int from;
    bool in_range;
  };
  // c as compilers make it: (32 - width) << 8, and 31 for all but up.
  const std::vector<Row> rows{
      {"idx", 5, 9, 0x1f, 9, true},
      {"idx", 5, 33, 0x1f, 1, true},
      {"idx", 13, 2, 0x181f, 10, true},  // width 8: lane 2 of lanes 8 to 15
      {"up", 5, 2, 0x0, 3, true},
      {"up", 1, 2, 0x0, 1, false},
      {"up", 17, 2, 0x1000, 17, false},  // width 16
      {"up", 18, 2, 0x1000, 16, true},
      {"down", 29, 2, 0x1f, 31, true},
      {"down", 30, 2, 0x1f, 30, false},
      {"down", 6, 2, 0x181f, 6, false},
      {"down", 5, 2, 0x181f, 7, true},
      {"bfly", 5, 16, 0x1f, 21, true},
      {"bfly", 21, 16, 0x1f, 5, true},
      {"bfly", 5, 9, 0x181f, 5, false},
      {"bfly", 13, 4, 0x181f, 9, true},
      // A clamp below the end of the segment.
      {"down", 3, 1, 0x3, 3, false},
      {"down", 2, 1, 0x3, 3, true},
      {"idx", 0, 4, 0x3, 0, false},
  };
  for (const Row& row : rows) {
    INFO(row.mode << " lane " << row.lane << " b " << row.b << " c " << row.c);
    Snippet snippet;
    snippet.world.lane = row.lane;
    for (std::size_t k = 0; k < 32; ++k) {
      snippet.world.lanes[k] = static_cast<std::uint32_t>(100 + k);
    }
    const auto own = static_cast<std::uint64_t>(100 + row.lane);
    const std::string shuffle = "shfl.sync." + row.mode + ".b32 ";
    const std::vector<std::uint64_t> inputs{own, row.b, row.c, 0xfffffff7};
    CHECK(snippet.run(shuffle + "%r0, %r1, %r2, %r3, %r4;", inputs) ==
          static_cast<std::uint64_t>(100 + row.from));
    CHECK(snippet.run(shuffle + "%r7|%p0, %r1, %r2, %r3, %r4;", inputs) == row.in_range);
    CHECK(snippet.world.masks == std::vector<std::uint32_t>{0xfffffff7, 0xfffffff7});
  }
  Snippet odd;  // a width of 12
  CHECK_THROWS_WITH(odd.run("shfl.sync.idx.b32 %r0, 0, 0, 0x141f, -1;"),
                    ContainsSubstring("power of two"));
  CHECK(odd.world.failure == simt::Fault::warp_operation);
}

TEST_CASE("ptx votes") {
  struct Row {
    std::string mode;
    std::uint32_t others;
    std::uint64_t mine, expected;
  };
  // Lane 0 of lanes 0 to 3 votes; the others are given.
  const std::vector<Row> rows{
      {"any", 0, 0, 0}, {"any", 0, 1, 1}, {"any", 4, 0, 1}, {"any", 0x10, 0, 0}};
  for (const Row& row : rows) {
    Snippet snippet;
    snippet.world.ballots = {row.others};
    CHECK(snippet.run("vote.sync." + row.mode + ".pred %p0, %p1, 15;", {row.mine}) == row.expected);
    CHECK(snippet.world.masks == std::vector<std::uint32_t>{15});
  }
  Snippet ballot;
  ballot.world.ballots = {0xfe};
  CHECK(ballot.run("vote.sync.ballot.b32 %r0, %p1, 15;", {1}) == 15);
  CHECK(ballot.run("vote.sync.ballot.b32 %r0, !%p1, 15;", {1}) == 14);
  // all asks who does not agree.
  Snippet all;
  all.world.ballots = {0};
  CHECK(all.run("vote.sync.all.pred %p0, %p1, 15;", {1}) == 1);
  CHECK(all.run("vote.sync.all.pred %p0, %p1, 15;", {0}) == 0);
  all.world.ballots = {2};
  CHECK(all.run("vote.sync.all.pred %p0, %p1, 15;", {1}) == 0);
  // uni: who agrees with me, and who with the opposite.
  Snippet uniform;
  uniform.world.ballots = {0xe, 0};
  CHECK(uniform.run("vote.sync.uni.pred %p0, %p1, 15;", {1}) == 1);
  uniform.world.ballots = {0, 0xe};
  CHECK(uniform.run("vote.sync.uni.pred %p0, %p1, 15;", {0}) == 1);
  uniform.world.ballots = {4, 0xa};
  CHECK(uniform.run("vote.sync.uni.pred %p0, %p1, 15;", {1}) == 0);
  uniform.world.ballots = {4, 0xa};
  CHECK(uniform.run("vote.sync.uni.pred %p0, %p1, 15;", {0}) == 0);
}

TEST_CASE("ptx match finds the lanes with the same value") {
  // Bit by bit: lanes 0 to 3 hold 5, 5, 4, 7.
  const std::vector<std::uint32_t> bits{0b1011, 0b1000, 0b1111, 0};
  Snippet any;
  any.world.ballots = bits;
  CHECK(any.run("match.any.sync.b32 %r0, %r1, 15;", {5}) == 0b0011);
  Snippet all;
  all.world.ballots = bits;
  CHECK(all.run("match.all.sync.b32 %r0|%p1, %r1, 15;", {5}) == 0);
  all.world.ballots = bits;
  CHECK(all.run("match.all.sync.b32 %r1|%p0, %r1, 15;", {5}) == 0);
  all.world.ballots = {0b1111, 0, 0b1111, 0};
  CHECK(all.run("match.all.sync.b32 %r0|%p1, %r1, 15;", {5}) == 15);
  all.world.ballots = {0b1111, 0, 0b1111, 0};
  CHECK(all.run("match.all.sync.b64 %r1|%p0, %d1, 15;", {5}) == 1);
  any.world.ballots = std::vector<std::uint32_t>(65, 0);
  any.world.ballots[40] = 0b0110;
  CHECK(any.run("match.any.sync.b64 %r0, %d1, 7;", {1ull << 40}) == 0b0111);
}

TEST_CASE("ptx redux combines the values of the mask") {
  struct Row {
    std::string op;
    std::uint32_t expected;
  };
  // Lane 0 brings 6, lanes 1 to 3: 3, 12, -1; lane 4, 100, is not in the mask.
  const std::vector<Row> rows{
      {"add.s32", 20}, {"add.u32", 20},        {"min.s32", 0xffffffff},
      {"min.u32", 3},  {"max.s32", 12},        {"max.u32", 0xffffffff},
      {"and.b32", 0},  {"or.b32", 0xffffffff}, {"xor.b32", 0xffffffff ^ 6 ^ 3 ^ 12}};
  for (const Row& row : rows) {
    INFO(row.op);
    Snippet snippet;
    snippet.world.lanes = {0, 3, 12, 0xffffffff, 100};
    CHECK(snippet.run("redux.sync." + row.op + " %r0, %r1, 15;", {6}) == row.expected);
  }
}

TEST_CASE("ptx bar.warp.sync names its lanes") {
  Snippet snippet;
  snippet.run("bar.warp.sync 0xff; bar.warp.sync -1; bar.warp.sync %r1;", {3});
  CHECK(snippet.world.masks == std::vector<std::uint32_t>{0xff, 0xffffffff, 3});
}

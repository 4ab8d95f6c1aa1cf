#include <cstdint>
#include <cstring>

#include "tests/cuda_emu/ptx_snippet.h"
#include "tests/support/catch.h"

using namespace muonlab::ptx;

namespace {

template <class T>
T read(const void* from) {
  T out;
  std::memcpy(&out, from, sizeof(T));
  return out;
}
template <class T>
void write(void* to, T value) {
  std::memcpy(to, &value, sizeof(T));
}

/// Offset of `tile` in the snippet's shared memory.
std::size_t tile_offset() { return evaluate("mov.u32 %r0, tile;"); }

}  // namespace

TEST_CASE("ptx loads fill the register by the type's sign") {
  Snippet snippet;
  write<std::uint64_t>(&snippet.memory[0], 0xfedcba9876543280);
  CHECK(snippet.run("ld.global.u8 %r0, [%d8];") == 0x80);
  CHECK(snippet.run("ld.global.s8 %r0, [%d8];") == 0xffffff80);
  CHECK(snippet.run("ld.global.s8 %h0, [%d8+3];") == 0x76);
  CHECK(snippet.run("ld.global.u16 %h0, [%d8+6];") == 0xfedc);
  CHECK(snippet.run("ld.global.s16 %r0, [%d8+6];") == 0xfffffedc);
  CHECK(snippet.run("ld.global.u32 %r0, [%d8+4];") == 0xfedcba98);
  CHECK(snippet.run("ld.global.s32 %d0, [%d8+4];") == 0xfffffffffedcba98);
  CHECK(snippet.run("ld.global.b64 %d0, [%d8];") == 0xfedcba9876543280);
  CHECK(snippet.run("add.s64 %d8, %d8, 8; ld.global.f32 %r0, [%d8+-8];") == 0x76543280);
  CHECK(snippet.run("ld.u32 %r0, [%d8];") == 0x76543280);
  CHECK(snippet.run("ld.global.nc.u32 %r0, [%d8];") == 0x76543280);
  CHECK(snippet.run("ld.global.nc.L1::no_allocate.L2::128B.b32 %r0, [%d8];") == 0x76543280);
  CHECK(snippet.run("ld.global.cg.b16 %h0, [%d8];") == 0x3280);
  CHECK(snippet.run("ld.volatile.global.u32 %r0, [%d8];") == 0x76543280);
  CHECK(snippet.run("ld.relaxed.gpu.global.u32 %r0, [%d8];") == 0x76543280);
}

TEST_CASE("ptx stores write as many bytes as the type has") {
  Snippet snippet;
  snippet.memory.fill(std::byte{0x55});
  snippet.run(
      "st.global.u8 [%d8], %r1; st.global.b16 [%d8+2], %h1; st.global.f32 [%d8+4], %r1;"
      "st.b64 [%d8+8], %d1; st.global.cs.u32 [%d8+20], 7;",
      {0x1122334455667788});
  CHECK(read<std::uint32_t>(&snippet.memory[0]) == 0x77885588);
  CHECK(read<std::uint32_t>(&snippet.memory[4]) == 0x55667788);
  CHECK(read<std::uint64_t>(&snippet.memory[8]) == 0x1122334455667788);
  CHECK(read<std::uint64_t>(&snippet.memory[16]) == 0x0000000755555555);
}

TEST_CASE("ptx vectors are one access") {
  Snippet snippet;
  for (std::size_t k = 0; k < 4; ++k) {
    write(&snippet.memory[4 * k], static_cast<std::uint32_t>(10 + k));
  }
  snippet.run(
      "ld.global.v4.u32 {%r1, %r2, %r3, %r4}, [%d8];"
      "st.global.v4.b32 [%d8+16], {%r4, %r3, %r2, %r1};"
      "ld.global.v2.f32 {%r5, _}, [%d8+16]; st.shared.v2.b32 [tile+8], {%r5, 99};");
  CHECK(read<std::uint32_t>(&snippet.memory[16]) == 13);
  CHECK(read<std::uint32_t>(&snippet.memory[28]) == 10);
  CHECK(read<std::uint64_t>(&snippet.shared[tile_offset() + 8]) == (99ull << 32 | 13));
  const auto memory = reinterpret_cast<std::uintptr_t>(snippet.memory.data());
  const auto shared = reinterpret_cast<std::uintptr_t>(snippet.shared.data());
  using Access = ScriptedWorld::Access;
  CHECK(snippet.world.accesses ==
        std::vector<Access>{{Touch::kRead, memory, 16},
                            {Touch::kWrite, memory + 16, 16},
                            {Touch::kRead, memory + 16, 8},
                            {Touch::kWrite, shared + tile_offset() + 8, 8}});
}

TEST_CASE("ptx shared memory has 32-bit offsets, and generic addresses too") {
  Snippet snippet;
  snippet.run("mov.u32 %r2, tile; st.shared.u32 [%r2+4], %r1;", {77});
  CHECK(read<std::uint32_t>(&snippet.shared[tile_offset() + 4]) == 77);
  CHECK(snippet.run("cvta.shared.u64 %d1, 0; mov.u64 %d2, tile; add.u64 %d1, %d1, %d2;"
                    "ld.u32 %r0, [%d1+4];") == 77);
  CHECK(snippet.run("ld.volatile.shared.u32 %r0, [tile+4];") == 77);
  const std::string dynamic = ".extern .shared .align 16 .b8 extra[];\n";
  write<std::uint32_t>(&snippet.shared[128 + 12], 88);
  CHECK(snippet.run("ld.shared.u32 %r0, [extra+12];", {}, dynamic) == 88);
  CHECK(snippet.run("mov.u32 %r0, extra;", {}, dynamic) == 128);
}

TEST_CASE("ptx local variables are the thread's own") {
  Snippet snippet;
  const std::string local = ".local .align 8 .b8 depot[16];\n";
  CHECK(snippet.run(local +
                    "mov.u64 %d1, depot; cvta.local.u64 %d2, %d1; st.local.u32 [depot+4], 9;"
                    "st.u32 [%d2+8], 11; ld.local.u32 %r1, [%d1+8]; ld.u32 %r2, [%d2+4];"
                    "mad.lo.s32 %r0, %r1, 100, %r2;") == 1109);
  CHECK(snippet.world.accesses.empty());
  CHECK(snippet.run(local + "ld.local.u32 %r0, [depot];") == 0xffffffff);  // junk, not 0
  CHECK_THROWS_WITH(
      snippet.run(local + "mov.u64 %d1, 4096; ld.local.u32 %r0, [%d1];"),
      ContainsSubstring("beyond the thread's local memory: ld.local.u32 %r0, [%d1];"));
  CHECK_THROWS_WITH(snippet.run(local + "ld.local.u32 %r0, [depot+2];"),
                    ContainsSubstring("an access of 4 bytes"));
  CHECK(snippet.world.failure == simt::Fault::misaligned);
}

TEST_CASE("ptx tables are initialised, and constant") {
  Snippet snippet;
  const std::string tables =
      ".const .align 4 .b8 bytes[8] = {1, 2, 3, 4, 0xff};\n"
      ".global .align 4 .f32 floats[2][2] = {{0f3F800000, -2.5}, {3.0}};\n"
      ".global .align 8 .u64 pointer = generic(floats)+4;\n"
      ".global .u16 shorts[3] = {1, 2, 65535};\n"
      ".const .s32 minus[1] = {-5};\n";
  CHECK(snippet.run("ld.const.u32 %r0, [bytes];", {}, tables) == 0x04030201);
  CHECK(snippet.run("ld.const.u32 %r0, [bytes+4];", {}, tables) == 0xff);
  CHECK(snippet.run("mov.u64 %d1, bytes; ld.const.u8 %r0, [%d1+2];", {}, tables) == 3);
  CHECK(snippet.run("ld.global.f32 %r0, [floats+4];", {}, tables) == f(-2.5f));
  CHECK(snippet.run("ld.global.f32 %r0, [floats+8];", {}, tables) == f(3));
  CHECK(snippet.run("ld.global.f32 %r0, [floats+12];", {}, tables) == 0);
  CHECK(snippet.run("ld.global.u64 %d1, [pointer]; ld.f32 %r0, [%d1];", {}, tables) == f(-2.5f));
  CHECK(snippet.run("ld.global.u16 %r0, [shorts+4];", {}, tables) == 65535);
  CHECK(snippet.run("ld.const.s32 %r0, [minus];", {}, tables) == s32(-5));
  CHECK(snippet.world.accesses.empty());
  CHECK_THROWS_WITH(snippet.run("ld.const.u32 %r0, [%d8];", {}, tables),
                    ContainsSubstring("beyond the constants"));
  CHECK_THROWS_WITH(snippet.run("st.global.u32 [floats], 0;", {}, tables),
                    ContainsSubstring("__device__ variables"));
}

TEST_CASE("ptx atomics return the old value and leave the new one") {
  struct Row {
    std::string op, type;
    std::uint64_t old, value, next;
  };
  const std::vector<Row> rows{
      {"add", "u32", 0xffffffff, 3, 2},
      {"add", "s32", 5, s32(-7), s32(-2)},
      {"add", "u64", 0xffffffff, 1, 0x100000000},
      {"add", "f32", f(1.5f), f(2), f(3.5f)},
      {"add", "f64", d(1.5), d(2), d(3.5)},
      {"add.noftz", "f16x2", 0x3c004000, 0x3c003c00, 0x40004200},
      {"add.noftz", "bf16x2", 0x3f804000, 0x3b803f80, 0x3f804040},
      {"min", "u32", 5, 0xffffffff, 5},
      {"min", "s32", 5, 0xffffffff, 0xffffffff},
      {"max", "u32", 5, 0xffffffff, 0xffffffff},
      {"max", "s32", 5, 0xffffffff, 5},
      {"min", "s64", 5, s64(-1), s64(-1)},
      {"max", "u64", 5, s64(-1), s64(-1)},
      {"and", "b32", 0xff0, 0x0ff, 0x0f0},
      {"or", "b32", 0xff0, 0x0ff, 0xfff},
      {"xor", "b32", 0xff0, 0x0ff, 0xf0f},
      {"xor", "b64", 1ull << 40, 1, 1ull << 40 | 1},
      {"exch", "b32", 3, 9, 9},
      {"exch", "b64", 3, 9ull << 40, 9ull << 40},
      {"inc", "u32", 3, 5, 4},
      {"inc", "u32", 5, 5, 0},
      {"inc", "u32", 9, 5, 0},
      {"dec", "u32", 3, 5, 2},
      {"dec", "u32", 5, 5, 4},
      {"dec", "u32", 0, 5, 5},
      {"dec", "u32", 9, 5, 5},
  };
  for (const Row& row : rows) {
    INFO(row.op << " " << row.type);
    const bool wide = row.type.find("64") != std::string::npos;
    const std::string reg = wide ? "%d" : "%r";
    for (const std::string space : {".global", "", ".shared"}) {
      Snippet snippet;
      std::byte* where = space == ".shared" ? &snippet.shared[tile_offset()] : &snippet.memory[0];
      write(where, row.old);
      const std::string address = space == ".shared" ? "[tile]" : "[%d8]";
      CHECK(snippet.run("atom" + space + "." + row.op + "." + row.type + " " + reg + "0, " +
                            address + ", " + reg + "1;",
                        {row.value}) == row.old);
      CHECK(read<std::uint64_t>(where) == row.next);
      CHECK(snippet.world.accesses ==
            std::vector<ScriptedWorld::Access>{
                {Touch::kAtomic, reinterpret_cast<std::uintptr_t>(where), wide ? 8u : 4u}});
      if (row.op == "exch") continue;
      write(where, row.old);
      snippet.run("red" + space + "." + row.op + "." + row.type + " " + address + ", " + reg + "1;",
                  {row.value});
      CHECK(read<std::uint64_t>(where) == row.next);
    }
  }
}

TEST_CASE("ptx compare and swap") {
  Snippet snippet;
  write<std::uint64_t>(&snippet.memory[0], 7);
  CHECK(snippet.run("atom.global.cas.b32 %r0, [%d8], %r1, %r2;", {6, 9}) == 7);
  CHECK(read<std::uint64_t>(&snippet.memory[0]) == 7);
  CHECK(snippet.run("atom.relaxed.gpu.global.cas.b32 %r0, [%d8], %r1, %r2;", {7, 9}) == 7);
  CHECK(read<std::uint64_t>(&snippet.memory[0]) == 9);
  CHECK(snippet.run("atom.cas.b64 %d0, [%d8], %d1, %d2;", {9, 1ull << 40}) == 9);
  CHECK(read<std::uint64_t>(&snippet.memory[0]) == 1ull << 40);
}

TEST_CASE("ptx cp.async arrives when its group is waited for") {
  Snippet snippet;
  write<std::uint64_t>(&snippet.memory[0], 0x2222222211111111);
  write<std::uint64_t>(&snippet.memory[16], 0x4444444433333333);
  const std::string copies =
      "mov.u32 %r1, tile; st.shared.b64 [tile], %d1; st.shared.b64 [tile+8], %d1;"
      "cp.async.ca.shared.global [%r1], [%d8], 8; cp.async.commit_group;"
      "cp.async.ca.shared.global [%r1+8], [%d8+16], 4; cp.async.commit_group;";
  const std::vector<std::uint64_t> zero{0};
  CHECK(snippet.run(copies + "ld.shared.u32 %r0, [tile];", zero) == 0);
  CHECK(snippet.run(copies + "cp.async.wait_group 2; ld.shared.u32 %r0, [tile];", zero) == 0);
  CHECK(snippet.run(copies + "cp.async.wait_group 1; ld.shared.u32 %r0, [tile+4];", zero) ==
        0x22222222);
  CHECK(snippet.run(copies + "cp.async.wait_group 1; ld.shared.u32 %r0, [tile+8];", zero) == 0);
  CHECK(snippet.run(copies + "cp.async.wait_group 0; ld.shared.b64 %d0, [tile+8];", zero) ==
        0x33333333);
  CHECK(snippet.run("mov.u32 %r1, tile; cp.async.cg.shared.global.L2::128B [%r1], [%d8], 16, 8;"
                    "cp.async.wait_all; ld.shared.b64 %d0, [tile+8];") == 0);
  CHECK(snippet.run("ld.shared.b64 %d0, [tile];") == 0x2222222211111111);
  CHECK_THROWS_WITH(snippet.run("cp.async.ca.shared.global [tile], [%d8], 12;"),
                    ContainsSubstring("4, 8 or 16"));
}

TEST_CASE("ptx prefetches and fences do nothing") {
  CHECK(evaluate("mov.u32 %r0, 3; prefetch.global.L2 [%d8]; prefetch.global.L1 [%d8]; membar.gl;"
                 "membar.cta; membar.sys; fence.acq_rel.gpu; fence.sc.cta;") == 3);
}

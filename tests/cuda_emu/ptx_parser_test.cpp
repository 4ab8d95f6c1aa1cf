#include "tests/cuda_emu/ptx_parser.h"

#include <cctype>
#include <fstream>
#include <iterator>
#include <string>

#include "tests/cuda_emu/ptx_opcodes.h"
#include "tests/cuda_emu/ptx_snippet.h"
#include "tests/support/catch.h"

using namespace muonlab::ptx;
using Catch::Matchers::Equals;

namespace {

const std::string kHeader = ".version 8.0\n.target sm_80\n.address_size 64\n";

std::string kernel(const std::string& body) {
  return kHeader + ".visible .entry k() {\n.reg .b32 %r<4>;\n.reg .pred %p<2>;\n" + body +
         "\nret;\n}\n";
}
const Function& function(const Module& module, const std::string& name) {
  return module.functions.at(static_cast<std::size_t>(module.function_numbers.at(name)));
}

}  // namespace

TEST_CASE("ptx that is not known is refused with file, line and text") {
  struct Row {
    std::string body, message;
  };
  const std::vector<Row> rows{
      {"wgmma.fence.sync.aligned;",
       "k.ptx:8: PTX mode does not know this instruction, in: "
       "wgmma.fence.sync.aligned;"},
      {"add.rn.quick.f32 %r1, %r2, %r3;", "does not know this instruction, in: add.rn.quick.f32"},
      {"add.ftz.s32 %r1, %r2, %r3;", "for these types and operands, in: add.ftz.s32 %r1"},
      {"min.NaN.s32 %r1, %r2, %r3;", "for these types and operands"},
      {"mul.sat.s32 %r1, %r2, %r3;", "for these types and operands"},
      {"setp.ltu.s32 %p1, %r2, %r3;", "for these types and operands"},
      {"shl.f32 %r1, %r2, %r3;", "for these types and operands"},
      {"popc.b16 %r1, %r2;", "for these types and operands"},
      {"ld.global.v4.f64 {%r1, %r2, %r3, %r0}, [%r1];", "for these types and operands"},
      {"ld.global.v2.f32 %r1, [%r1];", "for these types and operands"},
      {"add.s32 %r1, %r2;", "expected ','"},
      {"add.s32 %r1, %r2, %r3, %r3;", "expected ';'"},
      {"add.s32 %r1, %r2, %r9;", "does not know '%r9'"},
      {"add.s32 5, %r2, %r3;", "expected a name"},
      {"add.s32 %tid.x, %r2, %r3;", "%tid is not a register"},
      {"mov.u32 %r1, %clock;", "does not know '%clock'"},
      {"mov.u32 %r1, 0xzz;", "is not an integer"},
      {"mov.f32 %r1, 0f3F80;", "is not a literal"},
      {"bra $nowhere;", "k.ptx:8: there is no label $nowhere"},
      {"{ L: } bra L;", "there is no label L"},
      {"call absent;", "absent is called, and is not in this module"},
      {"call k;", "k calls itself"},
      {"{ .reg .b32 x; } mov.u32 %r1, x;", "does not know 'x'"},
      {"activemask.b32 %r1;", "does not know this instruction"},
      {"@%r9 ret;", "%r9 is not a register"},
      {".reg .q32 x;", "unknown type of a register"},
      {".tex .u32 x;", "in: .tex"},
  };
  for (const Row& row : rows) {
    INFO(row.body);
    CHECK_THROWS_WITH(parse(kernel("add.s32 %r1, %r2, %r3;\n" + row.body), "k.ptx"),
                      ContainsSubstring(row.message));
    CHECK_THROWS_AS(parse(kernel(row.body), "k.ptx"), ParseError);
  }
  CHECK_THROWS_WITH(parse(kernel("mov.u32 %r1,\n  %clock;\nadd.s32 %r1, %r2, %r3;"), "k.ptx"),
                    Equals("k.ptx:8: PTX mode does not know '%clock', in: mov.u32 %r1, %clock;"));
  CHECK_THROWS_WITH(
      parse(kHeader + ".global .surfref s;\n", "m.ptx"),
      ContainsSubstring("m.ptx:4: unknown type of a variable, in: .global .surfref s"));
  CHECK_THROWS_WITH(parse(".version 8.0\n.address_size 32\n", "m.ptx"),
                    ContainsSubstring("64 bits"));
  CHECK_THROWS_WITH(parse(kHeader + ".alias a, b;\n", "m.ptx"), ContainsSubstring("directive"));
  CHECK_THROWS_WITH(parse(kHeader + ".extern .const .b32 x;\n", "m.ptx"),
                    ContainsSubstring("another"));
  CHECK_THROWS_WITH(parse(kHeader + ".visible .entry k() { ret;\n", "m.ptx"),
                    ContainsSubstring("not closed"));
}

TEST_CASE("ptx of several forms is read") {
  const Module module = parse(
      "/* a comment\nof two lines */ .version 9.0 // and one\n.target sm_90, debug\n"
      ".address_size 64\n.extern .func vprintf(.param .b64 a);\n"
      ".visible .entry k(\n.param .u64 .ptr .global .align 16 k_param_0,\n"
      ".param .align 8 .b8 k_param_1[12],\n.param .u16 k_param_2, .param .f64 k_param_3)\n"
      ".maxntid 64, 2, 1\n.minnctapersm 2\n{\n.reg.b32 a,b;.reg .pred \t%p<3>;\n"
      "\t.pragma \"nounroll\";\nadd.s32 a , b,1;\n;ret;\n}\n"
      ".section .debug_str\n{\n.b8 1,2\n{ nested }\n}\n",
      "k.ptx");
  const Function& k = function(module, "k");
  CHECK(k.entry);
  CHECK(k.max_threads == 128);
  REQUIRE(k.parameters.size() == 4);
  CHECK(k.parameter_bytes == 32);  // 8, 12 at 8, 2 at 20, 8 at 24
  REQUIRE(k.code.size() == 2);
  CHECK(k.code[0].text == "add.s32 a , b,1;");
  CHECK(k.code[0].ptx_line == 15);
  CHECK(module.describe(k.code[1]) == "k.ptx:16: ret;");
}

TEST_CASE("ptx parameters are packed by their alignment") {
  // Checked by running: each parameter is read where the layout of a C struct has it.
  struct Parameters {
    std::uint8_t a;
    std::uint64_t b;
    std::uint16_t c;
    alignas(16) float d[4];
    std::uint32_t e;
  } parameters{1, 2, 3, {4, 5, 6, 7}, 8};
  std::array<std::uint32_t, 5> results{};
  const Module module =
      parse(kHeader +
                ".entry k(.param .u8 a, .param .u64 b, .param .u16 c, .param .align 16 .b8 d[16],"
                ".param .u32 e) { .reg .b32 %r<6>; .reg .b64 %d<2>; ld.param.u8 %r1, [a];"
                "ld.param.u64 %d1, [b]; ld.param.u16 %r3, [c]; ld.param.f32 %r4, [d+12];"
                "ld.param.u32 %r5, [e]; cvt.u32.u64 %r2, %d1; shl.b32 %r2, %r2, 4;"
                "st.global.u32 [" +
                std::to_string(reinterpret_cast<std::uintptr_t>(&results[0])) + "], %r1; ret; }",
            "k.ptx");
  CHECK(function(module, "k").parameter_bytes == offsetof(Parameters, e) + 4);
  const std::array<std::size_t, 5> expected{offsetof(Parameters, a), offsetof(Parameters, b),
                                            offsetof(Parameters, c), offsetof(Parameters, d),
                                            offsetof(Parameters, e)};
  const Function& k = function(module, "k");
  const std::size_t begin = k.variables[0].offset;
  for (std::size_t i = 0; i < 5; ++i) CHECK(k.variables[i].offset - begin == expected[i]);
  ScriptedWorld world;
  Place place;
  std::vector<std::max_align_t> stack(k.stack_bytes / sizeof(std::max_align_t) + 1);
  Thread thread(module, world);
  thread.run(k, reinterpret_cast<const std::byte*>(&parameters),
             std::as_writable_bytes(std::span(stack)), place);
  CHECK(results[0] == 1);
}

TEST_CASE("ptx shared variables are apart, and known to the kernels that can reach them") {
  const Module module =
      parse(kHeader +
                ".shared .align 16 .b8 common[32];\n.extern .shared .align 16 .b8 extra[];\n"
                ".func f() { .reg .b32 %r<2>; ld.shared.u32 %r1, [common]; ret; }\n"
                ".entry one() { .reg .b32 %r<2>; .shared .align 4 .b8 a[400]; .shared .f32 b;\n"
                "  ld.shared.u32 %r1, [a]; mov.u32 %r1, b; mov.u32 %r1, extra; ret; }\n"
                ".entry two() { .reg .b32 %r<2>; .shared .u64 c[2]; st.shared.u64 [c], 0; call f; "
                "ret; }\n",
            "k.ptx");
  REQUIRE(module.shared.size() == 4);
  const auto names = [&](const std::string& kernel_name) {
    std::string out;
    for (const std::int32_t number : function(module, kernel_name).shared) {
      out += module.shared[static_cast<std::size_t>(number)].name + " ";
    }
    return out;
  };
  CHECK(names("one") == "a b ");
  CHECK(names("two") == "common c ");
  const auto& [common, a, b, c] =
      std::tie(module.shared[0], module.shared[1], module.shared[2], module.shared[3]);
  CHECK(common.bytes == 32);
  CHECK(a.bytes == 400);
  CHECK(b.bytes == 4);
  CHECK(c.bytes == 16);
  CHECK(common.offset >= shared_gap(32));
  CHECK(a.offset >= common.offset + common.bytes + shared_gap(400));
  CHECK(b.offset >= a.offset + a.bytes + shared_gap(400));
  CHECK(c.offset >= common.offset + common.bytes + shared_gap(16));
}

TEST_CASE("ptx instructions know the line that they were compiled from") {
  const Module module = parse(
      kHeader +
          ".entry k() { .reg .b32 %r<4>;\n"
          ".loc 1 7 0\nadd.s32 %r1, %r2, 1;\n"
          ".loc 1 9 3\n.loc 2 80 9, function_name $L__info_string0, inlined_at 1 9 3\n"
          "add.s32 %r1, %r2, 2;\n"
          ".loc 3 5 1, function_name $L__info_string1, inlined_at 2 80 9\n"
          "add.s32 %r1, %r2, 3;\n"
          ".loc 1 0 3\nadd.s32 %r1, %r2, 4;\n.loc 1 12 1\nret; }\n"
          ".entry bare() { ret; }\n"
          ".file 1 \"/src/kernel.cu\"\n.file 2 \"/src/device.cuh\", 1234, 99\n"
          ".file 3 \"/usr/local/cuda/bin/../targets/x86_64-linux/include/sm_30_intrinsics.hpp\"\n",
      "k.ptx");
  const auto& code = function(module, "k").code;
  const auto line = [&](std::size_t i) {
    const SourceLine source = code[i].source;
    return module.files.at(source.file) + ":" + std::to_string(source.line);
  };
  CHECK(line(0) == "/src/kernel.cu:7");
  CHECK(line(1) == "/src/device.cuh:80");
  CHECK(line(2) == "/src/device.cuh:80");  // not the toolkit's own header
  CHECK(line(3) == "/src/device.cuh:80");  // line 0 says nothing
  CHECK(line(4) == "/src/kernel.cu:12");
  CHECK(function(module, "bare").code[0].source == SourceLine{});
}

TEST_CASE("every ptx instruction of the tables occurs in a test") {
  std::string tests;
  for (const std::string part : {"arithmetic", "convert", "memory", "control"}) {
    std::ifstream file(MUONLAB_SOURCE_DIR "/tests/cuda_emu/ptx_" + part + "_test.cpp");
    REQUIRE(file);
    tests.append(std::istreambuf_iterator<char>(file), {});
  }
  // Those that the tests put together from parts.
  tests += "atom. red. shfl.sync. redux.sync. vote.sync.";
  for (const auto table :
       {arithmetic_opcodes(), conversion_opcodes(), memory_opcodes(), control_opcodes()}) {
    for (const Opcode& row : table) {
      bool found = false;
      for (std::size_t at = tests.find(row.name); at != std::string::npos && !found;
           at = tests.find(row.name, at + 1)) {
        const char before = at > 0 ? tests[at - 1] : ' ', after = tests[at + row.name.size()];
        found = !std::isalnum(static_cast<unsigned char>(before)) && before != '.' &&
                (after == '.' || after == ' ' || after == ';');
      }
      INFO(row.name);
      CHECK(found);
    }
  }
}

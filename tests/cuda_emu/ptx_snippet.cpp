#include "tests/cuda_emu/ptx_snippet.h"

#include <fmt/format.h>

#include <cstring>

#include "tests/support/catch.h"

namespace muonlab::ptx {

std::uint64_t Snippet::run(const std::string& code, const std::vector<std::uint64_t>& inputs,
                           const std::string& outside) {
  std::string text = ".version 8.0\n.target sm_80\n.address_size 64\n" + outside +
                     ".visible .entry snippet(.param .u64 out, .param .u64 memory";
  for (std::size_t k = 1; k <= inputs.size(); ++k) text += fmt::format(", .param .b64 in{}", k);
  text +=
      ") {\n.reg .pred %p<9>;\n.reg .b16 %h<9>;\n.reg .b32 %r<9>;\n.reg .b64 %d<10>;\n"
      ".shared .align 16 .b8 tile[64];\n";
  for (std::size_t k = 1; k <= inputs.size(); ++k) {
    text += fmt::format(
        "ld.param.b16 %h{0}, [in{0}];\nld.param.b32 %r{0}, [in{0}];\n"
        "ld.param.b64 %d{0}, [in{0}];\nsetp.ne.s64 %p{0}, %d{0}, 0;\n",
        k);
  }
  text += "ld.param.u64 %d8, [memory];\nld.param.u64 %d9, [out];\n" + code + "\n";
  const std::size_t first = std::min(
      {code.find("%h0"), code.find("%r0"), code.find("%d0"), code.find("%p0"), code.size()});
  if (first < code.size()) {
    switch (code[first + 1]) {
      case 'h':
        text += "st.global.b16 [%d9], %h0;\n";
        break;
      case 'r':
        text += "st.global.b32 [%d9], %r0;\n";
        break;
      case 'd':
        text += "st.global.b64 [%d9], %d0;\n";
        break;
      default:
        text += "selp.b32 %r0, 1, 0, %p0;\nst.global.b32 [%d9], %r0;\n";
    }
  }
  text += "ret;\n}\n";

  const Module module = parse(text, "snippet.ptx");
  const Function& entry =
      module.functions[static_cast<std::size_t>(module.function_numbers.at("snippet"))];
  std::uint64_t result = 0;
  std::vector<std::uint64_t> parameters{reinterpret_cast<std::uintptr_t>(&result),
                                        reinterpret_cast<std::uintptr_t>(memory.data())};
  parameters.insert(parameters.end(), inputs.begin(), inputs.end());
  std::vector<std::max_align_t> stack(entry.stack_bytes / sizeof(std::max_align_t) + 1);
  Place place;
  place.special[static_cast<std::size_t>(Special::kLaneid)] =
      static_cast<std::uint32_t>(world.lane);
  for (std::size_t k = 0; k < static_cast<std::size_t>(Special::kLaneid); ++k) {
    place.special[k] = static_cast<std::uint32_t>(100 + k);
  }
  place.shared = shared.data();
  place.dynamic_shared = 128;
  Thread thread(module, world);
  thread.run(entry, reinterpret_cast<const std::byte*>(parameters.data()),
             std::as_writable_bytes(std::span(stack)), place);
  // The snippet's own accesses only, not the store of the result.
  if (first < code.size()) world.accesses.pop_back();
  return result;
}

void check_cases(const std::vector<Case>& cases) {
  for (const Case& row : cases) {
    std::string inputs;
    for (const std::uint64_t input : row.inputs) inputs += fmt::format(" {:#x}", input);
    INFO(row.code << " with" << inputs);
    std::string result;
    try {
      result = fmt::format("{:#x}", evaluate(row.code, row.inputs));
    } catch (const std::exception& e) {
      result = e.what();
    }
    CHECK(result == fmt::format("{:#x}", row.expected));
  }
}

}  // namespace muonlab::ptx

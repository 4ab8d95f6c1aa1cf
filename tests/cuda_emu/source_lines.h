#pragma once

#include <span>
#include <string>

#include "tests/cuda_emu/emulator.h"

namespace simt {

/// The line of source that a place stands for.
struct SourceLine {
  std::string where;       ///< "file:line", without folders
  std::string inlined_at;  ///< the line of the kernel into which that one was inlined, or ""
  std::string source;      ///< the text of the line, or ""
};

/// Addresses of compiled code are looked up by addr2line, which takes long: once for each.
SourceLine line_of(const Place& place);

/// Looks up many addresses at once, so that line_of is fast for them.
void look_up(std::span<const void* const> codes);

/// "gelu_kernel<float>": without namespaces and parameters.
std::string function_name(const void* function);

}  // namespace simt

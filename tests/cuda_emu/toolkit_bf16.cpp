// Compiled against the toolkit's headers, and only where there are some.

#include "tests/cuda_emu/toolkit_bf16.h"

#include <cuda_bf16.h>

#include <bit>

std::uint16_t toolkit_bf16_from_float(std::uint32_t x) {
  return std::bit_cast<std::uint16_t>(__float2bfloat16(std::bit_cast<float>(x)));
}

std::uint32_t toolkit_float_from_bf16(std::uint16_t x) {
  return std::bit_cast<std::uint32_t>(__bfloat162float(std::bit_cast<__nv_bfloat16>(x)));
}

#pragma once

#include <cstdint>

// Conversions of bits by NVIDIA's own cuda_bf16.h, which cannot be included beside the emulated
// one.
std::uint16_t toolkit_bf16_from_float(std::uint32_t x);
std::uint32_t toolkit_float_from_bf16(std::uint16_t x);

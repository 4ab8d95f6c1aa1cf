#pragma once

#include <cmath>
#include <cstdint>

#include "core/rng.h"
#include "cuda/device.cuh"

// The random numbers of core/rng.h on the device: the same words for the same key and counter.
namespace muonlab::cuda {

/// Which elements are dropped, the same on every device: core/backend.h says how.
struct DropoutMask {
  std::uint32_t key[2], stream[2];
  std::uint64_t limit;  ///< of 2^32 words, those below it drop
  float keep;           ///< 1 / (1 - p)
};

inline DropoutMask dropout_mask(double p, std::uint64_t seed, std::uint64_t stream) {
  const std::uint64_t key =
      seed ^ (std::uint64_t{static_cast<std::uint32_t>(RngPurpose::dropout)} << 56);
  return {{static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32)},
          {static_cast<std::uint32_t>(stream), static_cast<std::uint32_t>(stream >> 32)},
          static_cast<std::uint64_t>(std::ceil(p * 0x1p32)),
          static_cast<float>(1 / (1 - p))};
}

/// Four random words: block number `counter` of Philox 4x32-10 (core/rng.h).
__device__ __forceinline__ Vec<std::uint32_t, 4> philox(const DropoutMask& mask,
                                                        std::uint64_t counter) {
  std::uint32_t c0 = static_cast<std::uint32_t>(counter);
  std::uint32_t c1 = static_cast<std::uint32_t>(counter >> 32);
  std::uint32_t c2 = mask.stream[0], c3 = mask.stream[1], k0 = mask.key[0], k1 = mask.key[1];
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53} * c0;
    const std::uint64_t p1 = std::uint64_t{0xCD9E8D57} * c2;
    c0 = static_cast<std::uint32_t>(p1 >> 32) ^ c1 ^ k0;
    c1 = static_cast<std::uint32_t>(p1);
    c2 = static_cast<std::uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c3 = static_cast<std::uint32_t>(p0);
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  return {{c0, c1, c2, c3}};
}

/// What the mask multiplies an element with: 0 or 1 / (1 - p).
__device__ __forceinline__ float mask_factor(const DropoutMask& mask, std::uint64_t element) {
  const Vec<std::uint32_t, 4> words = philox(mask, element / 4);
  const std::uint32_t even = element & 2 ? words.v[2] : words.v[0];
  const std::uint32_t odd = element & 2 ? words.v[3] : words.v[1];
  return (element & 1 ? odd : even) < mask.limit ? 0.0f : mask.keep;
}

}  // namespace muonlab::cuda

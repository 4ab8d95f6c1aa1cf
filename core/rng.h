#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace muonlab {

/// What random numbers are for. Part of the key, so that two uses never share numbers, for seeds
/// below 2^56. The values are part of what a seed means: never renumber them.
enum class RngPurpose : std::uint32_t {
  init = 1,     ///< initial weights
  batch = 2,    ///< positions of training windows
  dropout = 3,  ///< dropout masks
  sample = 4,   ///< tokens drawn while sampling
  corpus = 5,   ///< the built-in corpus
  test = 6,     ///< test data
  state = 7,    ///< an optimizer's state that starts random
  labels = 8,   ///< labels drawn from a model's own distribution
};

/// One block of Philox 4x32 with 10 rounds: four random words from a counter and a key.
/// Paper: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", section 3.3.
inline std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter,
                                           std::array<std::uint32_t, 2> key) {
  auto [c0, c1, c2, c3] = counter;
  auto [k0, k1] = key;
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53} * c0, p1 = std::uint64_t{0xCD9E8D57} * c2;
    c0 = static_cast<std::uint32_t>(p1 >> 32) ^ c1 ^ k0;
    c1 = static_cast<std::uint32_t>(p1);
    c2 = static_cast<std::uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c3 = static_cast<std::uint32_t>(p0);
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  return {c0, c1, c2, c3};
}

/// Counter-based random numbers: a pure function of (seed, purpose, stream, index), without state.
/// `stream` tells uses of one purpose apart: a parameter, a step.
class Rng {
 public:
  Rng(std::uint64_t seed, RngPurpose purpose, std::uint64_t stream = 0)
      : seed_(seed), purpose_(purpose), stream_(stream) {}

  /// 64 uniform bits number `index`.
  std::uint64_t bits(std::uint64_t index) const;
  /// Uniform in [0, 1), 53 bits.
  double uniform(std::uint64_t index) const;
  /// Standard normal. Numbers 2k and 2k + 1 come from the same two uniforms.
  /// Paper: Box and Muller 1958, "A note on the generation of random normal deviates".
  double normal(std::uint64_t index) const;
  /// out[i] = std * normal(first + i), the same bits at half the work.
  void fill_normal(std::span<float> out, double std, std::uint64_t first = 0) const;
  /// Uniform integer in [0, n), n >= 1; bias below n / 2^64.
  std::uint64_t below(std::uint64_t n, std::uint64_t index) const;

 private:
  /// bits(2 number) and bits(2 number + 1).
  std::array<std::uint64_t, 2> pair(std::uint64_t number) const;

  std::uint64_t seed_;
  RngPurpose purpose_;
  std::uint64_t stream_;
};

/// A 64-bit stream number from a name (FNV-1a), so that a parameter's values depend on its name
/// and not on the order of construction.
std::uint64_t stream_of(const char* name);

}  // namespace muonlab

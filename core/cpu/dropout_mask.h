#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "core/rng.h"

namespace muonlab::cpu {

/// The mask that DropoutArgs (core/backend.h) defines.
class DropoutMask {
 public:
  DropoutMask(double p, std::uint64_t seed, std::uint64_t stream)
      : key_(seed ^ (std::uint64_t{static_cast<std::uint32_t>(RngPurpose::dropout)} << 56)),
        stream_(stream),
        keep_(1 / (1 - p)),
        threshold_(static_cast<std::uint64_t>(std::ceil(p * 0x1p32))) {}

  /// mask[k] = 0 where element first + k is dropped, 1 / (1 - p) elsewhere, for k in [0, n).
  template <class T>
  void fill(std::int64_t first, std::int64_t n, T* mask) const {
    constexpr std::int64_t kBlocks = 16;
    std::uint32_t words[4 * kBlocks];
    for (std::int64_t at = first; at < first + n;) {
      const std::int64_t block = at / 4, end = std::min(first + n, 4 * (block + kBlocks));
      for (std::int64_t i = 0; 4 * (block + i) < end; ++i) {
        const auto counter = static_cast<std::uint64_t>(block + i);
        const auto four = philox({low(counter), high(counter), low(stream_), high(stream_)},
                                 {low(key_), high(key_)});
        std::copy(four.begin(), four.end(), words + 4 * i);
      }
      for (std::int64_t k = at; k < end; ++k)
        mask[k - first] = words[k - 4 * block] < threshold_ ? T(0) : static_cast<T>(keep_);
      at = end;
    }
  }

 private:
  static std::uint32_t low(std::uint64_t x) { return static_cast<std::uint32_t>(x); }
  static std::uint32_t high(std::uint64_t x) { return static_cast<std::uint32_t>(x >> 32); }

  std::uint64_t key_, stream_;
  double keep_;
  std::uint64_t threshold_;  // the least integer that is not below p 2^32
};

}  // namespace muonlab::cpu

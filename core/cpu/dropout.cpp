#include <algorithm>

#include "core/cpu/cpu_backend.h"
#include "core/cpu/parallel.h"
#include "core/rng.h"

namespace muonlab::cpu {
namespace {

constexpr std::int64_t kGrain = 1024;  // blocks of four elements a chunk

template <class T>
void dropout_typed(const DropoutArgs& a) {
  Tensor out = a.y;
  const T* x = a.x.data<T>();
  T* y = out.data<T>();
  const std::int64_t n = out.numel();
  const T keep = static_cast<T>(1 / (1 - a.p)), beta = static_cast<T>(a.beta);
  const double threshold = a.p * 0x1p32;
  const std::uint64_t key =
      a.seed ^ (std::uint64_t{static_cast<std::uint32_t>(RngPurpose::dropout)} << 56);
  parallel_for(chunk_count(n, 4), kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t block = begin; block < end; ++block) {
      const auto counter = static_cast<std::uint64_t>(block);
      const auto words =
          philox({static_cast<std::uint32_t>(counter), static_cast<std::uint32_t>(counter >> 32),
                  static_cast<std::uint32_t>(a.stream), static_cast<std::uint32_t>(a.stream >> 32)},
                 {static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32)});
      for (std::int64_t i = block * 4; i < std::min(n, block * 4 + 4); ++i) {
        const T value = words[static_cast<std::size_t>(i % 4)] < threshold ? T(0) : keep * x[i];
        y[i] = beta == T(0) ? value : value + beta * y[i];
      }
    }
  });
}

}  // namespace

void CpuBackend::dropout(const DropoutArgs& a) {
  with_type(a.x, [&](auto zero) { dropout_typed<decltype(zero)>(a); });
}

}  // namespace muonlab::cpu

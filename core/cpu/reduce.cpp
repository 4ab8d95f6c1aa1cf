#include <vector>

#include "core/cpu/cpu_backend.h"
#include "core/cpu/parallel.h"

namespace muonlab::cpu {
namespace {

constexpr std::int64_t kGrain = 16384;  // elements a chunk: some microseconds of work

/// sums[i] = sum of f(element) over x[i] in f64: chunk by chunk, then the chunks in order. One
/// parallel loop for all tensors.
template <class T, class F>
void reduce(std::span<const Tensor> x, std::span<double> sums, const F& f) {
  struct Chunk {
    const T* begin;
    std::int64_t size;
    std::size_t tensor;
  };
  std::vector<Chunk> chunks;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const T* data = x[i].data<T>();
    for (std::int64_t at = 0; at < x[i].numel(); at += kGrain)
      chunks.push_back({data + at, std::min(kGrain, x[i].numel() - at), i});
  }
  std::vector<double> partial(chunks.size());
  parallel_for(static_cast<std::int64_t>(chunks.size()), 1, [&](std::int64_t chunk, std::int64_t) {
    const auto c = static_cast<std::size_t>(chunk);
    const T* values = chunks[c].begin;
    const std::int64_t n = chunks[c].size;
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (std::int64_t i = 0; i < n; ++i) sum += f(static_cast<double>(values[i]));
    partial[c] = sum;
  });
  std::fill(sums.begin(), sums.end(), 0.0);
  for (std::size_t c = 0; c < chunks.size(); ++c) sums[chunks[c].tensor] += partial[c];
}

}  // namespace

void CpuBackend::sum_squares(std::span<const Tensor> x, std::span<double> sums) {
  if (x.empty()) return;
  with_type(x[0],
            [&](auto zero) { reduce<decltype(zero)>(x, sums, [](double v) { return v * v; }); });
}

double CpuBackend::sum(const Tensor& x) {
  double total = 0;
  with_type(x, [&](auto zero) {
    reduce<decltype(zero)>({&x, 1}, {&total, 1}, [](double v) { return v; });
  });
  return total;
}

}  // namespace muonlab::cpu

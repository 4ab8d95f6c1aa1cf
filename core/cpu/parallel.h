#pragma once

#include <cstdint>
#include <memory>
#include <type_traits>

namespace muonlab::cpu {

/// Threads that kernels may use, from 1. Default: the cores of the machine.
void set_threads(int n);
int threads();

namespace detail {
using Body = void (*)(const void* f, std::int64_t begin, std::int64_t end) noexcept;
void run_chunks(std::int64_t n, std::int64_t grain, Body body, const void* f);
}  // namespace detail

/// Calls f(begin, end) for the chunks [0, grain), [grain, 2 grain), ... of [0, n), possibly at the
/// same time. The chunks do not depend on the number of threads, so neither do the results of a
/// body that writes only what belongs to its chunk. Inside a loop of several chunks a nested call
/// runs on its caller's thread; a loop of one chunk leaves the team to what is nested in it. f must
/// not throw: that ends the program.
template <class F>
void parallel_for(std::int64_t n, std::int64_t grain, const F& f) {
  detail::run_chunks(
      n, grain,
      [](const void* g, std::int64_t begin, std::int64_t end) noexcept {
        (*static_cast<const F*>(g))(begin, end);
      },
      std::addressof(f));
}

/// How many chunks parallel_for(n, grain, ...) makes.
constexpr std::int64_t chunk_count(std::int64_t n, std::int64_t grain) {
  return (n + grain - 1) / grain;
}

}  // namespace muonlab::cpu

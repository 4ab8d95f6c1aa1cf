#include "core/cpu/parallel.h"

#include <omp.h>

#include <algorithm>
#include <atomic>

namespace muonlab::cpu {
namespace {

std::atomic<int> thread_count{0};

}  // namespace

void set_threads(int n) { thread_count = std::max(1, n); }

int threads() {
  if (thread_count == 0) thread_count = std::max(1, omp_get_num_procs());
  return thread_count;
}

namespace detail {

void run_chunks(std::int64_t n, std::int64_t grain, Body body, const void* f) {
  const std::int64_t chunks = chunk_count(n, grain);
  const int team = static_cast<int>(std::min<std::int64_t>(threads(), chunks));
  if (team <= 1 || omp_in_parallel()) {
    for (std::int64_t c = 0; c < chunks; ++c) body(f, c * grain, std::min(n, (c + 1) * grain));
    return;
  }
#pragma omp parallel for schedule(dynamic, 1) num_threads(team)
  for (std::int64_t c = 0; c < chunks; ++c) body(f, c * grain, std::min(n, (c + 1) * grain));
}

}  // namespace detail
}  // namespace muonlab::cpu

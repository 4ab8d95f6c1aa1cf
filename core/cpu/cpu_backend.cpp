#include "core/cpu/cpu_backend.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <mutex>

#include "core/cpu/parallel.h"
#include "core/error.h"

namespace muonlab::cpu {
namespace {

constexpr std::int64_t kCopyGrain = std::int64_t{1}
                                    << 20;  // bytes: below it, a second core costs more

}  // namespace

CpuBackend::~CpuBackend() { allocator().trim(); }

void* CpuBackend::raw_alloc(std::size_t bytes) {
  // Large blocks on huge pages: a pass over them takes far fewer address translations.
  constexpr std::size_t kHugePage = std::size_t{2} << 20;
  const std::size_t alignment = bytes >= 2 * kHugePage ? kHugePage : 64;
  void* block = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  if (!block)
    throw DeviceError(fmt::format("out of memory: {:.1f} MiB were asked for",
                                  static_cast<double>(bytes) / (1 << 20)));
  // Only whole huge pages: the rest would be resident without being used.
  if (alignment == kHugePage) madvise(block, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
  return block;
}

void CpuBackend::raw_free(void* block, std::size_t) noexcept { std::free(block); }

void CpuBackend::copy(void* dst, const void* src, std::size_t bytes) {
  if (dst == src) return;
  parallel_for(static_cast<std::int64_t>(bytes), kCopyGrain,
               [&](std::int64_t begin, std::int64_t end) {
                 std::memcpy(static_cast<char*>(dst) + begin, static_cast<const char*>(src) + begin,
                             static_cast<std::size_t>(end - begin));
               });
}
void CpuBackend::copy_from_host(void* dst, const void* src, std::size_t bytes) {
  copy(dst, src, bytes);
}
void CpuBackend::copy_to_host(void* dst, const void* src, std::size_t bytes) {
  copy(dst, src, bytes);
}

void CpuBackend::fill(Tensor& dst, double value) {
  const auto run = [&](auto* p, auto v) {
    parallel_for(dst.numel(), kCopyGrain / 4,
                 [&](std::int64_t begin, std::int64_t end) { std::fill(p + begin, p + end, v); });
  };
  if (dst.dtype() == DType::i32)
    return run(dst.data<std::int32_t>(), static_cast<std::int32_t>(value));
  with_type(dst, [&](auto zero) {
    using T = decltype(zero);
    run(dst.data<T>(), static_cast<T>(value));
  });
}

void CpuBackend::for_each(std::int64_t n, const std::function<void(std::int64_t)>& f) {
  std::mutex mutex;
  std::exception_ptr thrown;
  std::int64_t thrown_at = n;
  parallel_for(n, 1, [&](std::int64_t i, std::int64_t) {
    try {
      f(i);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (i < thrown_at) thrown = std::current_exception();
      thrown_at = std::min(thrown_at, i);
    }
  });
  if (thrown) std::rethrow_exception(thrown);
}

}  // namespace muonlab::cpu

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

constexpr std::size_t kLine = 64, kPage = std::size_t{64} << 10,  // the largest of any Linux
    kHugePage = std::size_t{2} << 20;

std::size_t round_up(std::size_t bytes, std::size_t unit) {
  return (bytes + unit - 1) / unit * unit;
}
bool is_large(std::size_t bytes) { return bytes >= kHugePage / 4; }

/// Fresh pages, or null. From two huge pages on they begin at the border of one.
void* map_pages(std::size_t bytes) {
  const std::size_t slack = bytes >= 2 * kHugePage ? kHugePage : 0;
  void* pages =
      ::mmap(nullptr, bytes + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) return nullptr;
  if (slack == 0) return pages;
  auto* first = static_cast<char*>(pages);
  const std::size_t before = -reinterpret_cast<std::uintptr_t>(pages) % kHugePage;
  if (before > 0) ::munmap(first, before);
  ::munmap(first + before + bytes, slack - before);
  // Only whole huge pages: the rest would be resident without being used.
  ::madvise(first + before, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
  return first + before;
}

}  // namespace

CpuBackend::~CpuBackend() { allocator().trim(); }

// Large blocks are mappings of their own, not malloc's: beside the short-lived buffers of others
// they would leave holes in its heap that stay resident. They lie on huge pages, since a pass over
// them then takes far fewer address translations.
void* CpuBackend::raw_alloc(std::size_t bytes) {
  void* block = is_large(bytes) ? map_pages(round_up(bytes, kPage))
                                : std::aligned_alloc(kLine, round_up(bytes, kLine));
  if (!block)
    throw DeviceError(fmt::format("out of memory: {:.1f} MiB were asked for",
                                  static_cast<double>(bytes) / (1 << 20)));
  return block;
}

void CpuBackend::raw_free(void* block, std::size_t bytes) noexcept {
  if (is_large(bytes))
    ::munmap(block, round_up(bytes, kPage));
  else
    std::free(block);
}

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

void CpuBackend::set_precision(Precision precision) {
  if (precision != Precision::f32)
    throw ConfigError(fmt::format("the CPU computes in f32 alone; --precision {} needs a GPU",
                                  precision == Precision::tf32 ? "tf32" : "bf16"));
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

#include "core/allocator.h"

#include <algorithm>
#include <bit>

#include "core/backend.h"
#include "core/error.h"

namespace muonlab {

std::size_t Allocator::size_class(std::size_t bytes) {
  constexpr std::size_t kSmallest = 64, kLargestStep = std::size_t{128} << 10;
  if (bytes <= kSmallest) return kSmallest;
  const std::size_t step = std::clamp(std::bit_floor(bytes - 1) / 8, kSmallest, kLargestStep);
  return (bytes + step - 1) / step * step;
}

Allocator::~Allocator() { trim(); }

void* Allocator::allocate(std::size_t bytes) {
  const std::size_t size = size_class(bytes);
  std::lock_guard lock(mutex_);
  void* block = nullptr;
  if (std::vector<void*>& list = free_[size]; !list.empty()) {
    block = list.back();
    list.pop_back();
  } else {
    try {
      block = backend_.raw_alloc(size);
    } catch (const DeviceError&) {
      // The cache may hold what is missing, in other sizes.
      return_cached();
      block = backend_.raw_alloc(size);
    }
    ++stats_.raw_allocs;
    stats_.reserved += size;
  }
  stats_.live += size;
  stats_.peak = std::max(stats_.peak, stats_.live);
  return block;
}

void Allocator::release(void* block, std::size_t bytes) noexcept {
  const std::size_t size = size_class(bytes);
  std::lock_guard lock(mutex_);
  stats_.live -= size;
  free_[size].push_back(block);
}

void Allocator::trim() {
  std::lock_guard lock(mutex_);
  return_cached();
}

void Allocator::return_cached() {
  for (auto& [size, list] : free_) {
    for (void* block : list) backend_.raw_free(block, size);
    stats_.reserved -= size * list.size();
    list.clear();
  }
}

AllocatorStats Allocator::stats() const {
  std::lock_guard lock(mutex_);
  return stats_;
}

}  // namespace muonlab

#include "core/allocator.h"

#include <algorithm>
#include <bit>
#include <iterator>

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
  if (size >= kLarge) {
    block = take_large(size);
    if (!block) {
      block = raw(size);
      large_.emplace(static_cast<char*>(block), Part{size, true, false});
    }
  } else if (std::vector<void*>& list = small_[size]; !list.empty()) {
    block = list.back();
    list.pop_back();
  } else {
    block = raw(size);
  }
  stats_.live += size;
  stats_.peak = std::max(stats_.peak, stats_.live);
  return block;
}

void* Allocator::raw(std::size_t size) {
  void* block = nullptr;
  try {
    block = backend_.raw_alloc(size);
  } catch (const DeviceError&) {
    // The cache may hold what is missing, in other sizes.
    return_cached();
    block = backend_.raw_alloc(size);
  }
  ++stats_.raw_allocs;
  stats_.reserved += size;
  return block;
}

void* Allocator::take_large(std::size_t size) {
  const auto smallest = free_large_.lower_bound({size, nullptr});
  if (smallest == free_large_.end()) return nullptr;
  const auto part = large_.find(smallest->second);
  set_free(part, false);
  if (const std::size_t rest = part->second.size - size; rest > 0) {
    part->second.size = size;
    set_free(large_.emplace(part->first + size, Part{rest, false, false}).first, true);
  }
  return part->first;
}

void Allocator::release(void* block, std::size_t bytes) noexcept {
  const std::size_t size = size_class(bytes);
  std::lock_guard lock(mutex_);
  stats_.live -= size;
  if (size >= kLarge)
    release_large(static_cast<char*>(block));
  else
    small_[size].push_back(block);
}

void Allocator::release_large(char* block) {
  const auto part = large_.find(block);
  set_free(part, true);
  join(part);
  if (!part->second.first) join(std::prev(part));
}

void Allocator::join(Parts::iterator part) {
  const auto next = std::next(part);
  if (!part->second.free || next == large_.end() || next->second.first || !next->second.free)
    return;
  set_free(part, false);
  set_free(next, false);
  part->second.size += next->second.size;
  large_.erase(next);
  set_free(part, true);
}

void Allocator::set_free(Parts::iterator part, bool free) {
  part->second.free = free;
  if (free)
    free_large_.emplace(part->second.size, part->first);
  else
    free_large_.erase({part->second.size, part->first});
}

void Allocator::trim() {
  std::lock_guard lock(mutex_);
  return_cached();
}

void Allocator::return_cached() {
  for (auto& [size, list] : small_) {
    for (void* block : list) backend_.raw_free(block, size);
    stats_.reserved -= size * list.size();
    list.clear();
  }
  for (auto part = large_.begin(); part != large_.end();) {
    const auto next = std::next(part);
    // What is free is joined, so a raw block without a live part is one part.
    if (part->second.free && part->second.first && (next == large_.end() || next->second.first)) {
      set_free(part, false);
      backend_.raw_free(part->first, part->second.size);
      stats_.reserved -= part->second.size;
      large_.erase(part);
    }
    part = next;
  }
}

AllocatorStats Allocator::stats() const {
  std::lock_guard lock(mutex_);
  return stats_;
}

}  // namespace muonlab

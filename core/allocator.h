#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <vector>

namespace muonlab {

class Backend;

/// Counters of one allocator, in bytes unless said.
struct AllocatorStats {
  std::size_t live = 0;         ///< handed out and not yet returned
  std::size_t peak = 0;         ///< largest value of `live` so far
  std::size_t reserved = 0;     ///< taken from the backend: live and cached
  std::int64_t raw_allocs = 0;  ///< requests that the cache could not serve (count)
};

/// Size-class caching allocator over a backend's raw allocation. A freed block waits in the list of
/// its class and serves the next request of that class, so a training step that repeats the sizes
/// of the one before it makes no raw allocation. Thread-safe.
class Allocator {
 public:
  explicit Allocator(Backend& backend) : backend_(backend) {}
  ~Allocator();
  Allocator(const Allocator&) = delete;
  Allocator& operator=(const Allocator&) = delete;

  /// A block of at least `bytes` bytes, aligned to 64. Throws: DeviceError when out of memory.
  void* allocate(std::size_t bytes);
  /// Returns a block; `bytes` is what was asked for.
  void release(void* block, std::size_t bytes) noexcept;
  /// Gives every cached block back to the backend.
  void trim();
  AllocatorStats stats() const;

  /// Bytes really reserved for a request: the next of eight steps between powers of two, which
  /// above 1 MiB stay at 128 KiB.
  static std::size_t size_class(std::size_t bytes);

 private:
  void return_cached();  // with mutex_ held

  Backend& backend_;
  mutable std::mutex mutex_;
  std::map<std::size_t, std::vector<void*>> free_;
  AllocatorStats stats_;
};

}  // namespace muonlab

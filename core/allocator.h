#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <utility>
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

/// Caching allocator over a backend's raw allocation. Sizes are rounded to classes, so that
/// requests that differ a little share blocks. A freed block waits for the next request: below
/// kLarge one of its own class; from kLarge on any that fits, the smallest block first, of which
/// the rest stays free until its neighbours are and they are one again. So gradients lie where
/// activations were, and a training step that repeats the sizes of the one before it makes no raw
/// allocation. Thread-safe.
class Allocator {
 public:
  static constexpr std::size_t kLarge = std::size_t{1} << 20;

  explicit Allocator(Backend& backend) : backend_(backend) {}
  ~Allocator();
  Allocator(const Allocator&) = delete;
  Allocator& operator=(const Allocator&) = delete;

  /// A block of at least `bytes` bytes, aligned to 64. Throws: DeviceError when out of memory.
  void* allocate(std::size_t bytes);
  /// Returns a block; `bytes` is what was asked for.
  void release(void* block, std::size_t bytes) noexcept;
  /// Gives every cached raw block of which no part is live back to the backend.
  void trim();
  AllocatorStats stats() const;

  /// Bytes really reserved for a request: the next of eight steps between powers of two, which
  /// above 1 MiB stay at 128 KiB.
  static std::size_t size_class(std::size_t bytes);

 private:
  /// A part of a large raw block. The parts of one raw block follow each other without a gap.
  struct Part {
    std::size_t size;
    bool first;  ///< of its raw block
    bool free;
  };
  using Parts = std::map<char*, Part>;

  // All with mutex_ held.
  void* raw(std::size_t size);
  void* take_large(std::size_t size);  // null if none is free
  void release_large(char* block);
  /// Joins a part with the one behind it if both are free and of one raw block.
  void join(Parts::iterator part);
  void set_free(Parts::iterator part, bool free);
  void return_cached();

  Backend& backend_;
  mutable std::mutex mutex_;
  std::map<std::size_t, std::vector<void*>> small_;     // free blocks of each class
  Parts large_;                                         // by address
  std::set<std::pair<std::size_t, char*>> free_large_;  // by size, then address
  AllocatorStats stats_;
};

}  // namespace muonlab

#include "core/allocator.h"

#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

#include "core/backend.h"
#include "core/error.h"
#include "core/rng.h"
#include "tests/support/catch.h"

using namespace muonlab;

// The sanitizers end the process on an impossible request unless they are told to answer it like
// the system, which the tests of that answer need.
extern "C" const char* __asan_default_options() { return "allocator_may_return_null=1"; }
extern "C" const char* __tsan_default_options() { return "allocator_may_return_null=1"; }

namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20;

Backend& cpu() { return backend_of(Device{}); }

}  // namespace

TEST_CASE("allocator: size classes hold their request and waste at most an eighth") {
  std::size_t last = 0;
  for (std::size_t bytes = 0; bytes < 100'000; ++bytes) {
    const std::size_t size = Allocator::size_class(bytes);
    const bool sound =
        size >= bytes && size % 64 == 0 && size >= 64 && size >= last &&
        Allocator::size_class(size) == size &&
        (bytes <= 512 ? size < bytes + 64 + (bytes == 0) : size <= bytes + bytes / 8);
    if (!sound) FAIL("size class of " << bytes << " is " << size);
    last = size;
  }
  CHECK(Allocator::size_class(1025) == 1152);
  constexpr std::size_t kHuge = std::size_t{1} << 62;
  CHECK(Allocator::size_class(kHuge) == kHuge);
  CHECK(Allocator::size_class(kHuge + 1) == kHuge + (128 << 10));
}

TEST_CASE("allocator: blocks are aligned and do not overlap") {
  Allocator a(cpu());
  std::vector<std::pair<unsigned char*, std::size_t>> blocks;
  for (std::size_t bytes : {0u, 1u, 64u, 65u, 1000u, 1000u, 4096u, 100'000u}) {
    auto* block = static_cast<unsigned char*>(a.allocate(bytes));
    CHECK(reinterpret_cast<std::uintptr_t>(block) % 64 == 0);
    std::memset(block, static_cast<int>(blocks.size()), bytes);
    blocks.emplace_back(block, bytes);
  }
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const auto [block, bytes] = blocks[i];
    for (std::size_t j = 0; j < bytes; ++j)
      if (block[j] != i) FAIL("block " << i << " was overwritten");
    a.release(block, bytes);
  }
}

TEST_CASE("allocator: a repeated step makes no raw allocation") {
  Allocator a(cpu());
  const auto step = [&a] {
    void* x = a.allocate(5000);
    void* y = a.allocate(70'000);
    a.release(x, 5000);
    void* z = a.allocate(4990);  // of the same class as x
    a.release(y, 70'000);
    a.release(z, 4990);
  };
  step();
  const AllocatorStats first = a.stats();
  CHECK(first.raw_allocs == 2);
  CHECK(first.live == 0);
  CHECK(first.peak == Allocator::size_class(5000) + Allocator::size_class(70'000));
  CHECK(first.reserved == first.peak);
  for (int i = 0; i < 3; ++i) step();
  CHECK(a.stats().raw_allocs == 2);
  CHECK(a.stats().peak == first.peak);
}

TEST_CASE("allocator: a freed large block serves smaller requests and becomes whole again") {
  Allocator a(cpu());
  auto* whole = static_cast<char*>(a.allocate(12 * kMiB));
  a.release(whole, 12 * kMiB);
  const std::size_t orders[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                   {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
  const std::size_t sizes[] = {2 * kMiB, 3 * kMiB, 7 * kMiB};
  for (const auto& order : orders) {
    char* parts[3];
    std::size_t at = 0;
    for (std::size_t i = 0; i < 3; ++i) {
      parts[i] = static_cast<char*>(a.allocate(sizes[i]));
      CHECK(parts[i] == whole + at);
      at += sizes[i];
    }
    CHECK(a.stats().live == 12 * kMiB);
    for (std::size_t i : order) a.release(parts[i], sizes[i]);
    CHECK(a.allocate(12 * kMiB) == whole);
    a.release(whole, 12 * kMiB);
  }
  CHECK(a.stats().raw_allocs == 1);
  CHECK(a.stats().reserved == 12 * kMiB);
  CHECK(a.stats().live == 0);
}

TEST_CASE("allocator: the smallest free block that fits is taken") {
  Allocator a(cpu());
  const std::size_t sizes[] = {6 * kMiB, 3 * kMiB, 12 * kMiB};
  void* blocks[3];
  for (std::size_t i = 0; i < 3; ++i) blocks[i] = a.allocate(sizes[i]);
  for (std::size_t i = 0; i < 3; ++i) a.release(blocks[i], sizes[i]);
  CHECK(a.allocate(2 * kMiB) == blocks[1]);
  CHECK(a.allocate(4 * kMiB) == blocks[0]);
  CHECK(a.allocate(5 * kMiB) == blocks[2]);
  CHECK(a.stats().raw_allocs == 3);
  a.release(blocks[0], 4 * kMiB);
  a.release(blocks[1], 2 * kMiB);
  a.release(blocks[2], 5 * kMiB);
}

TEST_CASE("allocator: neighbours of two raw blocks never become one") {
  Allocator a(cpu());
  // The system often lays such blocks side by side.
  std::vector<void*> blocks;
  for (int i = 0; i < 8; ++i) blocks.push_back(a.allocate(2 * kMiB));
  for (void* block : blocks) a.release(block, 2 * kMiB);
  void* larger = a.allocate(3 * kMiB);
  CHECK(a.stats().raw_allocs == 9);
  a.release(larger, 3 * kMiB);
  a.trim();
  CHECK(a.stats().reserved == 0);
}

TEST_CASE("allocator: large blocks do not overlap, whatever the order of requests") {
  Allocator a(cpu());
  const Rng rng(2, RngPurpose::test);
  struct Block {
    std::int64_t* words;
    std::size_t bytes;
    std::int64_t mark;
  };
  std::vector<Block> blocks;
  std::size_t live = 0;
  for (std::uint64_t i = 0; i < 3000; ++i) {
    if (blocks.size() < 6 || (blocks.size() < 12 && rng.below(2, 3 * i) == 0)) {
      const std::size_t bytes = kMiB / 2 + rng.below(6 * kMiB, 3 * i + 1);
      auto* words = static_cast<std::int64_t*>(a.allocate(bytes));
      const auto mark = static_cast<std::int64_t>(i);
      for (std::size_t at = 0; at < bytes / 8; at += 512) words[at] = mark;
      words[bytes / 8 - 1] = mark;
      blocks.push_back({words, bytes, mark});
      live += Allocator::size_class(bytes);
    } else {
      const std::size_t at = rng.below(blocks.size(), 3 * i + 2);
      const Block b = blocks[at];
      bool whole = b.words[b.bytes / 8 - 1] == b.mark;
      for (std::size_t k = 0; k < b.bytes / 8; k += 512) whole &= b.words[k] == b.mark;
      if (!whole) FAIL("block " << b.mark << " was overwritten before request " << i);
      a.release(b.words, b.bytes);
      blocks.erase(blocks.begin() + static_cast<std::ptrdiff_t>(at));
      live -= Allocator::size_class(b.bytes);
    }
    if (a.stats().live != live) FAIL("live is " << a.stats().live << " instead of " << live);
  }
  for (const Block& b : blocks) a.release(b.words, b.bytes);
  a.trim();
  CHECK(a.stats().live == 0);
  CHECK(a.stats().reserved == 0);
}

TEST_CASE("allocator: trim leaves raw blocks that are live in part or whole") {
  Allocator a(cpu());
  void* whole = a.allocate(8 * kMiB);
  a.release(whole, 8 * kMiB);
  auto* part = static_cast<unsigned char*>(a.allocate(2 * kMiB));
  auto* other = static_cast<unsigned char*>(a.allocate(8 * kMiB));
  a.release(a.allocate(20 * kMiB), 20 * kMiB);
  part[0] = other[0] = 7;
  a.trim();
  CHECK(a.stats().reserved == 16 * kMiB);
  REQUIRE(a.stats().live == 10 * kMiB);
  CHECK(part[0] == 7);
  CHECK(other[0] == 7);
  a.release(part, 2 * kMiB);
  a.release(other, 8 * kMiB);
  a.trim();
  CHECK(a.stats().reserved == 0);
}

TEST_CASE("allocator: trim gives back what is cached and leaves what is live") {
  Allocator a(cpu());
  auto* live = static_cast<unsigned char*>(a.allocate(1000));
  a.release(a.allocate(2000), 2000);
  live[0] = 7;
  a.trim();
  CHECK(a.stats().reserved == Allocator::size_class(1000));
  CHECK(a.stats().live == Allocator::size_class(1000));
  CHECK(live[0] == 7);
  a.release(a.allocate(2000), 2000);
  CHECK(a.stats().raw_allocs == 3);
  a.release(live, 1000);
  a.trim();
  CHECK(a.stats().reserved == 0);
}

TEST_CASE("allocator: a request that memory cannot hold is an error and counts nothing") {
  Allocator a(cpu());
  CHECK_THROWS_AS(a.allocate(std::size_t{1} << 60), DeviceError);
  CHECK(a.stats().live == 0);
  CHECK(a.stats().reserved == 0);
  CHECK(a.stats().raw_allocs == 0);
}

TEST_CASE("allocator: threads never share a block") {
  Allocator a(cpu());
  constexpr std::size_t kThreads = 4;
  std::vector<int> clean(kThreads, 1);
  std::vector<std::thread> threads;
  for (std::size_t id = 0; id < kThreads; ++id)
    threads.emplace_back([&a, &clean, id] {
      const Rng rng(1, RngPurpose::test, id);
      std::vector<std::pair<unsigned char*, std::size_t>> mine;
      for (std::uint64_t i = 0; i < 2000; ++i) {
        if (mine.size() < 8) {
          const std::size_t bytes = 1 + rng.below(600, i);
          auto* block = static_cast<unsigned char*>(a.allocate(bytes));
          std::memset(block, static_cast<int>(id), bytes);
          mine.emplace_back(block, bytes);
          continue;
        }
        const std::size_t at = rng.below(mine.size(), i);
        const auto [block, bytes] = mine[at];
        for (std::size_t j = 0; j < bytes; ++j) clean[id] &= block[j] == id;
        a.release(block, bytes);
        mine.erase(mine.begin() + static_cast<std::ptrdiff_t>(at));
      }
      for (const auto& [block, bytes] : mine) a.release(block, bytes);
    });
  for (std::thread& t : threads) t.join();
  CHECK(clean == std::vector<int>(kThreads, 1));
  CHECK(a.stats().live == 0);
  CHECK(a.stats().peak <= a.stats().reserved);
}

#include "core/cpu/parallel.h"

#include <array>
#include <atomic>
#include <chrono>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/backend.h"
#include "core/error.h"
#include "tests/support/catch.h"

using namespace muonlab;
using muonlab::cpu::chunk_count;
using muonlab::cpu::parallel_for;

TEST_CASE("every chunk is run once, with the same bounds for any number of threads", "[parallel]") {
  const int before = cpu::threads();
  for (std::int64_t n : {0, 1, 7, 64, 1000}) {
    for (std::int64_t grain : {1, 7, 64, 5000}) {
      std::set<std::pair<std::int64_t, std::int64_t>> want;
      for (std::int64_t i = 0; i < n; i += grain) want.emplace(i, std::min(n, i + grain));
      for (int threads : {1, 2, 3, 8}) {
        cpu::set_threads(threads);
        std::mutex mutex;
        std::multiset<std::pair<std::int64_t, std::int64_t>> got;
        parallel_for(n, grain, [&](std::int64_t begin, std::int64_t end) {
          std::lock_guard lock(mutex);
          got.emplace(begin, end);
        });
        INFO("n " << n << " grain " << grain << " threads " << threads);
        CHECK(std::vector(got.begin(), got.end()) == std::vector(want.begin(), want.end()));
        CHECK(chunk_count(n, grain) == static_cast<std::int64_t>(want.size()));
      }
    }
  }
  cpu::set_threads(before);
}

TEST_CASE("a nested loop runs whole, on the thread that called it", "[parallel]") {
  const int before = cpu::threads();
  cpu::set_threads(4);
  std::atomic<int> inner{0}, strangers{0};
  parallel_for(8, 1, [&](std::int64_t, std::int64_t) {
    thread_local int mark = 0;
    const int* here = &mark;
    parallel_for(10, 1, [&](std::int64_t, std::int64_t) {
      ++inner;
      strangers += &mark != here;
    });
  });
  CHECK(inner == 80);
  CHECK(strangers == 0);
  cpu::set_threads(before);
}

TEST_CASE("for_each visits every index once", "[parallel]") {
  std::vector<std::atomic<int>> visits(100);
  backend_of(Device{}).for_each(100,
                                [&](std::int64_t i) { ++visits[static_cast<std::size_t>(i)]; });
  int wrong = 0;
  for (const auto& v : visits) wrong += v != 1;
  CHECK(wrong == 0);
}

TEST_CASE("there is always a thread", "[parallel]") {
  const int before = cpu::threads();
  cpu::set_threads(0);
  CHECK(cpu::threads() >= 1);
  cpu::set_threads(-3);
  CHECK(cpu::threads() >= 1);
  cpu::set_threads(before);
}

TEST_CASE("short jobs in close succession run every chunk once", "[parallel]") {
  const int before = cpu::threads();
  cpu::set_threads(8);
  // A helper that is late for one job meets the next: nothing may run twice or be left out.
  std::vector<std::atomic<std::int64_t>> runs(20);
  std::int64_t want = 0, wrong = 0;
  for (std::int64_t job = 0; job < 2'000'000; ++job) {
    const std::int64_t chunks = 2 + job % 19;
    parallel_for(chunks, 1, [&](std::int64_t i, std::int64_t) {
      runs[static_cast<std::size_t>(i)].fetch_add(1, std::memory_order_relaxed);
    });
    want += chunks;
    std::int64_t got = 0;
    for (const auto& r : runs) got += r.load(std::memory_order_relaxed);
    wrong += got != want;
  }
  CHECK(wrong == 0);
  cpu::set_threads(before);
}

namespace {

/// Whether `done` holds within half a minute.
template <class F>
bool wait_for(const F& done) {
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!done()) {
    if (std::chrono::steady_clock::now() > limit) return false;
    std::this_thread::yield();
  }
  return true;
}

}  // namespace

TEST_CASE("a thread has the same part of every job", "[parallel]") {
  const int before = cpu::threads();
  cpu::set_threads(2);
  const auto caller = std::this_thread::get_id();
  int wrong = 0, met = 0;
  for (int job = 0; job < 100; ++job) {
    // Chunks 0 and 2, then 1 and 3, wait for each other.
    std::array<std::atomic<bool>, 4> begun{};
    std::atomic<int> meetings{0}, strangers{0};
    parallel_for(4, 1, [&](std::int64_t chunk, std::int64_t) {
      const auto i = static_cast<std::size_t>(chunk);
      begun[i] = true;
      meetings += wait_for([&] { return begun[(i + 2) % 4].load(); });
      strangers += (std::this_thread::get_id() == caller) != (chunk < 2);
    });
    wrong += strangers;
    met += meetings;
    if (meetings != 4) break;
  }
  CHECK(wrong == 0);
  CHECK(met == 400);
  cpu::set_threads(before);
}

TEST_CASE("what a slow thread has left of its part is done by the others", "[parallel]") {
  const int before = cpu::threads();
  cpu::set_threads(3);
  std::atomic<int> others{0};
  bool all = false;
  parallel_for(60, 1, [&](std::int64_t chunk, std::int64_t) {
    if (chunk == 0)
      all = wait_for([&] { return others == 59; });
    else
      ++others;
  });
  CHECK(all);
  cpu::set_threads(before);
}

TEST_CASE("for_each throws the exception of the lowest index, and goes on working", "[parallel]") {
  const int before = cpu::threads();
  cpu::set_threads(4);
  Backend& backend = backend_of(Device{});
  for (int round = 0; round < 3; ++round) {
    std::string message;
    try {
      backend.for_each(20, [](std::int64_t i) {
        if (i >= 7) throw Error("index " + std::to_string(i));
      });
    } catch (const Error& e) {
      message = e.what();
    }
    CHECK(message == "index 7");
  }
  cpu::set_threads(before);
}

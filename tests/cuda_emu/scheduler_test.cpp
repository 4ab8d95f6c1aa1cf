#include "tests/cuda_emu/scheduler.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>

#include "tests/cuda_emu/device.h"
#include "tests/cuda_emu/kernels.h"
#include "tests/cuda_emu/selftest.cuh"
#include "tests/support/catch.h"

using namespace selftest;
using simt::Order;
using simt::Streams;

namespace {

constexpr int kThreads = 70;  // two warps and a bit

using Kernel = void (*)(int*, int*);

// The threads in the order in which they took their tickets.
std::vector<int> order_of(Kernel kernel, int blocks = 1) {
  const DeviceArray<int> counter(1), tickets(std::size_t(blocks * kThreads));
  launch(kernel, unsigned(blocks), kThreads, 0, nullptr, counter.get(), tickets.get());
  const auto ticket = tickets.values();
  std::vector<int> order(ticket.size());
  for (std::size_t i = 0; i < ticket.size(); ++i) order.at(std::size_t(ticket[i])) = int(i);
  return order;
}

std::vector<int> counting(int n) {
  std::vector<int> numbers(static_cast<std::size_t>(n));
  std::iota(numbers.begin(), numbers.end(), 0);
  return numbers;
}

std::vector<int> reversed(std::vector<int> v) {
  std::reverse(v.begin(), v.end());
  return v;
}

std::vector<int> sorted(std::vector<int> v) {
  std::sort(v.begin(), v.end());
  return v;
}

}  // namespace

TEST_CASE("threads and blocks run in the order that was asked for") {
  {
    const Emulation e(Order::forward);
    CHECK(order_of(kern::take_tickets, 3) == counting(3 * kThreads));
  }
  {
    const Emulation e(Order::reverse);
    CHECK(order_of(kern::take_tickets, 3) == reversed(counting(3 * kThreads)));
  }
  const auto random = [](std::uint64_t seed) {
    const Emulation e(Order::random, Streams::eager, seed);
    return order_of(kern::take_tickets, 3);
  };
  const auto once = random(5);
  CHECK(once != counting(3 * kThreads));
  CHECK(sorted(once) == counting(3 * kThreads));
  CHECK(random(6) != once);
}

// The last thread to come to a barrier goes on at once; the others in order.
TEST_CASE("threads go on after a barrier in the order that was asked for") {
  {
    const Emulation e(Order::forward);
    auto want = counting(kThreads);
    std::rotate(want.begin(), want.end() - 1, want.end());
    CHECK(order_of(kern::take_tickets_after_sync) == want);
  }
  {
    const Emulation e(Order::reverse);
    auto want = reversed(counting(kThreads));
    std::rotate(want.begin(), want.end() - 1, want.end());
    CHECK(order_of(kern::take_tickets_after_sync) == want);
  }
  const Emulation e(Order::random);
  const auto order = order_of(kern::take_tickets_after_sync);
  CHECK(sorted(order) == counting(kThreads));
  CHECK(order != counting(kThreads));
}

TEST_CASE("a seed is the same order again") {
  // The seed of a launch depends on how many there were: ask the scheduler itself.
  const Emulation e(Order::random);
  const auto shuffled = [](std::uint64_t seed) {
    std::vector<std::uint32_t> numbers(50);
    std::iota(numbers.begin(), numbers.end(), 0u);
    simt::scheduler.seed(seed);
    simt::scheduler.put_in_order(numbers);
    return numbers;
  };
  CHECK(shuffled(3) == shuffled(3));
  CHECK(shuffled(3) != shuffled(4));
}

TEST_CASE("indices in three dimensions") {
  for (const auto order : {Order::forward, Order::reverse, Order::random}) {
    const Emulation e(order);
    const dim3 grid(2, 3, 2), block(5, 2, 3);
    const DeviceArray<int> out(12 * 30);
    launch(kern::write_indices, grid, block, 0, nullptr, out.get());
    const auto got = out.values();
    std::size_t i = 0;
    int wrong = 0;
    for (int bz = 0; bz < 2; ++bz)
      for (int by = 0; by < 3; ++by)
        for (int bx = 0; bx < 2; ++bx)
          for (int z = 0; z < 3; ++z)
            for (int y = 0; y < 2; ++y)
              for (int x = 0; x < 5; ++x) {
                const int want = (bz * 100 + by * 10 + bx) * 1000000 + z * 100 + y * 10 + x;
                wrong += got[i++] != want;
              }
    CHECK(wrong == 0);
    CHECK(reports_text() == "");
  }
}

TEST_CASE("__syncthreads_or, _and and _count") {
  for (const auto order : {Order::forward, Order::reverse, Order::random})
    for (const int limit : {0, 1, 69, 70}) {
      const Emulation e(order);
      const DeviceArray<int> out(kThreads);
      launch(kern::barrier_predicates, 1, kThreads, 0, nullptr, out.get(), limit);
      const int want = (limit > 0) * 10000 + (limit == kThreads) * 1000 + limit;
      CHECK(out.values() == std::vector<int>(kThreads, want));
      CHECK(reports_text() == "");
    }
}

// "Warp Shuffle Functions" of the CUDA C++ Programming Guide: a warp is cut into segments of
// `width` lanes; a lane that would read beyond its segment keeps its own value.
TEST_CASE("shuffles of every width") {
  const Emulation e(Order::random);
  const DeviceArray<int> out(32);
  for (const int width : {1, 2, 8, 32})
    for (const int argument : {0, 1, 3, 7, 31}) {
      const auto check = [&](kern::Shuffle kind, auto want) {
        launch(kern::shuffle, 1, 32, 0, nullptr, out.get(), kind, argument, width);
        CAPTURE(int(kind), width, argument);
        const auto got = out.values();
        std::vector<int> wanted;
        for (int lane = 0; lane < 32; ++lane) wanted.push_back(want(lane, lane / width * width));
        CHECK(got == wanted);
      };
      check(kern::Shuffle::index, [&](int, int first) { return first + argument % width; });
      check(kern::Shuffle::up,
            [&](int lane, int first) { return lane - argument >= first ? lane - argument : lane; });
      check(kern::Shuffle::down, [&](int lane, int first) {
        return lane + argument < first + width ? lane + argument : lane;
      });
      // Lanes of segments before may be read, those behind not.
      check(kern::Shuffle::exclusive_or, [&](int lane, int first) {
        return (lane ^ argument) < first + width ? lane ^ argument : lane;
      });
    }
  CHECK(reports_text() == "");
}

TEST_CASE("shuffles of eight bytes") {
  const Emulation e;
  const DeviceArray<double> out(32);
  launch(kern::shuffle_doubles, 1, 32, 0, nullptr, out.get(), 5);
  const auto got = out.values();
  for (int lane = 0; lane < 32; ++lane) CHECK(got[std::size_t(lane)] == 1.0 / (1 + (lane ^ 5)));
}

TEST_CASE("votes and reductions, in all lanes and in some") {
  for (const unsigned mask : {0xffffffffu, 0x00f0f0f1u, 0x80000000u}) {
    const Emulation e(Order::random);
    const DeviceArray<unsigned> out(32 * 9);
    launch(kern::votes, 1, 32, 0, nullptr, out.get(), mask);
    CHECK(reports_text() == "");
    unsigned ballot = 0, sum = 0, least = 32, most = 0, any_bit = 0, all_bits = ~0u;
    bool all = true;
    for (unsigned lane = 0; lane < 32; ++lane) {
      if ((mask >> lane & 1) == 0) continue;
      if (lane % 3 == 0)
        ballot |= 1u << lane;
      else
        all = false;
      sum += lane;
      least = std::min(least, lane);
      most = std::max(most, lane);
      any_bit |= lane;
      all_bits &= lane;
    }
    const std::vector<unsigned> want{ballot, ballot != 0, all,      sum,      least,
                                     most,   any_bit,     all_bits, 0u - most};
    const auto got = out.values();
    for (std::size_t lane = 0; lane < 32; ++lane)
      if ((mask >> lane & 1) != 0) {
        const auto begin = got.begin() + std::ptrdiff_t(lane * 9);
        CHECK(std::vector<unsigned>(begin, begin + 9) == want);
      }
  }
}

TEST_CASE("atomics") {
  for (const auto order : {Order::forward, Order::reverse, Order::random}) {
    const Emulation e(order);
    const DeviceArray<int> counters(std::vector<int>{0, 0, 0, 0, 0, 0, 0, 255});
    const DeviceArray<unsigned long long> wide(1);
    launch(kern::atomics, 1, kThreads, 0, nullptr, counters.get(), wide.get());
    CHECK(reports_text() == "");
    const auto got = counters.values();
    int exclusive_or = 0;
    for (int i = 0; i < kThreads; ++i) exclusive_or ^= i;
    CHECK(got[0] == kThreads * (kThreads - 1) / 2);
    CHECK(got[1] == -5);
    CHECK(got[2] == kThreads - 1);
    CHECK(got[3] == 255);
    CHECK(got[4] == exclusive_or);
    CHECK(got[5] == 7);
    if (order == Order::forward) CHECK(got[6] == kThreads);
    CHECK(got[7] == 240);
    CHECK(wide.values()[0] == 70ull << 33);
  }
}

TEST_CASE("a block of 1024 threads, and counters") {
  const Emulation e;
  const auto before = simt::stats();
  const DeviceArray<int> out(1024);
  launch(kern::barrier_predicates, 1, 1024, 0, nullptr, out.get(), 1000);
  CHECK(out.values() == std::vector<int>(1024, 11000));
  const auto after = simt::stats();
  CHECK(after.launches - before.launches == 1);
  CHECK(after.blocks - before.blocks == 1);
  CHECK(after.threads - before.threads == 1024);
  CHECK(after.accesses - before.accesses == 1024);  // one store each
}

TEST_CASE("the stacks of a block that got stuck are used again") {
  const Emulation e;
  const DeviceArray<float> out(64);
  const auto fibers_after_one = [&] {
    launch(kern::get_stuck, 1, 64, 0, nullptr, out.get());
    CHECK(reports_text().find("deadlock") == 0);
    return simt::stats().fibers;
  };
  const auto first = fibers_after_one();
  CHECK(first >= 64);
  CHECK(fibers_after_one() == first);
}

TEST_CASE("shared memory is full of junk when a block begins") {
  const Emulation e;
  const DeviceArray<float> out(2);
  launch(kern::read_junk, 1, 1, 4, nullptr, out.get());
  CHECK(reports_text().find("uninitialised") == 0);
  CHECK(std::isnan(out.values()[0]));
  CHECK(std::isnan(out.values()[1]));
}

// ---- Kernels that are not C++

namespace {

using simt::Access;
using simt::on_access;

// What an interpreter does, by hand: every thread copies its number through shared memory.
class HandMade : public simt::KernelBody {
 public:
  enum class Flaw { none, no_barrier, beyond, throws };
  explicit HandMade(Flaw flaw) : flaw_(flaw) {}

  std::span<const simt::SharedRegion> shared_regions() const override { return regions_; }

  void run_thread(void* const* arguments, unsigned char* shared) const override {
    auto* out = *static_cast<int* const*>(arguments[0]);
    auto* tile = reinterpret_cast<int*>(shared + regions_[0].offset);
    const int i = int(simt::thread_idx().x), n = int(simt::block_dim().x);
    if (flaw_ == Flaw::throws && i == 3) throw std::runtime_error("no such opcode");
    int* mine = tile + i + (flaw_ == Flaw::beyond ? 1 : 0);
    on_access(Access::write, mine, 4, &kLine[0]);
    *mine = i;
    if (flaw_ != Flaw::no_barrier)
      simt::block_barrier(simt::BarrierOp::sync, 0, {"hand_made.ptx", 2});
    on_access(Access::read, tile + n - 1 - i, 4, &kLine[1]);
    const int value = tile[n - 1 - i];
    on_access(Access::write, out + i, 4, &kLine[2]);
    out[i] = value;
  }

  static constexpr int kLine[3] = {1, 3, 4};

 private:
  Flaw flaw_;
  std::vector<simt::SharedRegion> regions_{{"tile", 512, 64 * 4}};
};

class HandMadeSource : public simt::KernelSource {
 public:
  explicit HandMadeSource(HandMade::Flaw flaw) : body_(flaw) { simt::set_kernel_source(this); }
  ~HandMadeSource() override { simt::set_kernel_source(nullptr); }
  const simt::KernelBody& find(const void*) override { return body_; }
  bool locate(const void* code, std::string& where, std::string& source) const override {
    const int* line = static_cast<const int*>(code);
    if (line < HandMade::kLine || line >= HandMade::kLine + 3) return false;
    where = "hand_made.ptx:" + std::to_string(*line);
    source = "line " + std::to_string(*line);
    return true;
  }

 private:
  HandMade body_;
};

void launch_hand_made(int* out) { launch(kern::write_indices, 1, 64, 0, nullptr, out); }

}  // namespace

TEST_CASE("a kernel body in place of a C++ kernel") {
  for (const auto order : {Order::forward, Order::reverse, Order::random}) {
    const Emulation e(order);
    const HandMadeSource source(HandMade::Flaw::none);
    const DeviceArray<int> out(64);
    launch_hand_made(out.get());
    CHECK(out.values() == reversed(counting(64)));
    CHECK(reports_text() == "");
  }
}

TEST_CASE("a kernel body is checked like a C++ kernel") {
  const auto report_of = [](HandMade::Flaw flaw, simt::Fault fault) {
    const Emulation e(Order::random);
    const HandMadeSource source(flaw);
    const DeviceArray<int> out(64);
    launch_hand_made(out.get());
    for (const auto& report : simt::take_reports())
      if (report.fault == fault) return report;
    return simt::Report{};
  };
  const auto race = report_of(HandMade::Flaw::no_barrier, simt::Fault::race_shared);
  CHECK(std::min(race.where, race.against) == "hand_made.ptx:1");
  CHECK(std::max(race.where, race.against) == "hand_made.ptx:3");
  CHECK(race.kernel == "write_indices");
  const auto beyond = report_of(HandMade::Flaw::beyond, simt::Fault::out_of_bounds);
  CHECK(beyond.where == "hand_made.ptx:1");
  CHECK(beyond.text.find("byte 256 of shared tile (256 bytes)") != std::string::npos);
}

TEST_CASE("what a kernel body throws comes out of the launch, and the next launch works") {
  const Emulation e;
  const DeviceArray<int> out(64);
  {
    const HandMadeSource source(HandMade::Flaw::throws);
    CHECK_THROWS_WITH(launch_hand_made(out.get()), "no such opcode");
  }
  const HandMadeSource source(HandMade::Flaw::none);
  launch_hand_made(out.get());
  CHECK(out.values() == reversed(counting(64)));
}

#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <random>
#include <vector>

#include "tests/cuda_emu/emulator.h"
#include "tests/cuda_emu/fiber.h"

namespace simt {

inline constexpr int kWarp = 32;
inline constexpr int kMaxThreads = 1024;

/// Runs one block at a time. Each thread runs until it must wait for others; then it keeps its
/// fiber, and another thread goes on or a new one begins.
class Scheduler {
 public:
  void seed(std::uint64_t seed) { random_.seed(seed); }
  /// Puts numbers in the order that the configuration asks for.
  void put_in_order(std::vector<std::uint32_t>& numbers);
  /// Runs a block; `body` is what each thread does. False if it was abandoned or got stuck. Throws
  /// what a thread threw.
  bool run_block(dim3 size, const std::function<void()>& body);

  // For the thread that runs now:
  int barrier(BarrierOp op, int predicate, Site site);
  void warp_operation(const WarpRequest& request, Site site);
  [[noreturn]] void abandon();

  bool on_a_stack(const void* address) const;

 private:
  enum class State : std::uint8_t {
    waiting_to_begin,
    running,
    ready,
    at_barrier,
    at_warp,
    returned
  };
  struct Thread {
    uint3 index;
    State state;
    Fiber* fiber;
    Site site;  ///< where it waits
    BarrierOp barrier_op;
    int predicate;  ///< its own, then the block's
    WarpRequest request;
  };
  struct Warp {
    unsigned live, waiting;  ///< lanes
    std::uint32_t clock;     ///< goes on at every __syncwarp
    /// seen[i][j]: what lane j did before this time of the clock, lane i has seen.
    std::array<std::array<std::uint32_t, kWarp>, kWarp> seen;
    void synchronise(unsigned lanes);
  };

  static void fiber_main();
  void run_threads_on(Fiber& fiber);
  void begin_block(dim3 size);
  void finish(Thread& thread);
  void report_deadlock();
  void reset_fibers();

  Fiber* next();
  Fiber* idle_fiber();
  Thread& take_ready();
  void make_ready(Thread& thread);
  void wait();
  void run(Thread& thread);
  void switch_to(Fiber* fiber);
  bool coin() { return (random_() & 1) != 0; }

  void complete_barrier();
  void complete_warp_operation(Warp& warp, const Thread& arrived);
  void check_agreement(const Thread& a, const Thread& b);
  void exchange(Warp& warp, unsigned lanes, Thread* threads);

  int number_of(const Thread& thread) const { return int(&thread - threads_.data()); }
  int lane_of(const Thread& thread) const { return number_of(thread) % kWarp; }
  Warp& warp_of(const Thread& thread) { return warps_[std::size_t(number_of(thread) / kWarp)]; }

  std::array<Thread, kMaxThreads> threads_{};
  std::array<Warp, kMaxThreads / kWarp> warps_{};
  int size_ = 0, live_ = 0, at_barrier_ = 0;
  std::vector<std::uint32_t> order_;
  std::size_t begun_ = 0;  ///< how many of order_ have begun
  std::deque<int> ready_;
  bool stopped_ = false;
  std::exception_ptr thrown_;
  const std::function<void()>* body_ = nullptr;
  Thread* current_ = nullptr;

  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> idle_;
  Fiber* fiber_ = nullptr;  ///< the one that runs; null: the host
  Context host_;

  std::mt19937_64 random_;
};

extern Scheduler scheduler;

}  // namespace simt

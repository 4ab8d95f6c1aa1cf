#include "tests/cuda_emu/scheduler.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>
#include <numeric>

namespace simt {

Scheduler scheduler;
Now now;

Stats counters;

namespace {

std::string thread_text(const uint3& t) { return fmt::format("thread ({},{},{})", t.x, t.y, t.z); }

bool same(const Site& a, const Site& b) {
  return a.line == b.line && std::strcmp(a.file, b.file) == 0;
}

const char* operation_name(WarpOp op) {
  switch (op) {
    case WarpOp::sync:
      return "__syncwarp";
    case WarpOp::shuffle:
      return "__shfl_sync";
    case WarpOp::shuffle_up:
      return "__shfl_up_sync";
    case WarpOp::shuffle_down:
      return "__shfl_down_sync";
    case WarpOp::shuffle_xor:
      return "__shfl_xor_sync";
    case WarpOp::ballot:
      return "a vote";
    case WarpOp::reduce:
      return "__reduce_sync";
  }
  return "";
}

bool is_shuffle(WarpOp op) {
  return op == WarpOp::shuffle || op == WarpOp::shuffle_up || op == WarpOp::shuffle_down ||
         op == WarpOp::shuffle_xor;
}

// The lane that a shuffle reads from, as the PTX reference defines shfl.sync: out of its segment, a
// lane reads its own value.
int source_lane(const WarpRequest& request, int lane) {
  const int first = lane & ~(request.width - 1), end = first + request.width;
  const int argument = request.argument & (kWarp - 1);
  int source = lane;
  switch (request.op) {
    case WarpOp::shuffle:
      return first | (argument & (request.width - 1));
    case WarpOp::shuffle_up:
      source = lane - argument;
      break;
    case WarpOp::shuffle_down:
      source = lane + argument;
      break;
    case WarpOp::shuffle_xor:
      return (lane ^ argument) < end ? lane ^ argument : lane;
    default:
      break;
  }
  return source >= first && source < end ? source : lane;
}

template <class F>
void for_each_lane(unsigned lanes, F f) {
  for (; lanes != 0; lanes &= lanes - 1) f(std::countr_zero(lanes));
}

}  // namespace

const Stats& stats() { return counters; }

// ---- A block

bool Scheduler::run_block(dim3 size, const std::function<void()>& body) {
  begin_block(size);
  body_ = &body;
  while (Fiber* fiber = next()) switch_to(fiber);
  now.thread = -1;
  current_ = nullptr;
  ++counters.blocks;
  counters.threads += std::uint64_t(size_);
  const bool stuck = !stopped_ && live_ > 0;
  if (stuck) report_deadlock();
  if (stuck || stopped_) reset_fibers();
  if (thrown_) std::rethrow_exception(std::exchange(thrown_, nullptr));
  return !stuck && !stopped_;
}

void Scheduler::begin_block(dim3 size) {
  size_ = live_ = int(size.x * size.y * size.z);
  at_barrier_ = 0;
  begun_ = 0;
  stopped_ = false;
  ready_.clear();
  now.block_interval = ++now.interval;
  std::size_t i = 0;
  for (unsigned z = 0; z < size.z; ++z)
    for (unsigned y = 0; y < size.y; ++y)
      for (unsigned x = 0; x < size.x; ++x) {
        threads_[i].index = {x, y, z};
        threads_[i++].state = State::waiting_to_begin;
      }
  for (int first = 0; first < size_; first += kWarp) {
    Warp& warp = warps_[std::size_t(first / kWarp)];
    const int lanes = std::min(size_ - first, kWarp);
    warp.live = lanes == kWarp ? ~0u : (1u << lanes) - 1;
    warp.waiting = 0;
    warp.clock = 1;
    warp.seen = {};
  }
  order_.resize(std::size_t(size_));
  std::iota(order_.begin(), order_.end(), 0u);
  put_in_order(order_);
}

void Scheduler::put_in_order(std::vector<std::uint32_t>& numbers) {
  if (config().order == Order::reverse) std::reverse(numbers.begin(), numbers.end());
  if (config().order == Order::random) std::shuffle(numbers.begin(), numbers.end(), random_);
}

void Scheduler::finish(Thread& thread) {
  thread.state = State::returned;
  --live_;
  Warp& warp = warp_of(thread);
  warp.live &= ~(1u << lane_of(thread));
  current_ = nullptr;
  // Those who wait may have waited for this thread alone.
  Thread* lanes = &threads_[std::size_t(number_of(thread) / kWarp * kWarp)];
  for_each_lane(warp.waiting, [&](int lane) {
    if ((warp.waiting >> lane & 1) != 0) complete_warp_operation(warp, lanes[lane]);
  });
  complete_barrier();
}

void Scheduler::report_deadlock() {
  std::map<std::string, std::vector<const Thread*>> places;
  const Thread* first = nullptr;
  for (int i = 0; i < size_; ++i) {
    const Thread& t = threads_[std::size_t(i)];
    if (t.state == State::returned) continue;
    if (first == nullptr) first = &t;
    const bool barrier = t.state == State::at_barrier;
    places[(barrier ? "__syncthreads" : operation_name(t.request.op)) + std::string(" at ") +
           describe(Place(t.site))]
        .push_back(&t);
  }
  report(Fault::deadlock, Place(first->site), [&] {
    std::string text = "no thread of the block can go on:";
    for (const auto& [place, threads] : places) {
      text += fmt::format(" {} wait at {}, the first is {};", threads.size(), place,
                          thread_text(threads.front()->index));
    }
    return fmt::format("{} {} have returned", text, size_ - live_);
  });
}

// ---- Fibers

// Runs on every fiber: threads one after the other, as long as they do not wait.
void Scheduler::fiber_main() {
  for (;;) scheduler.run_threads_on(*scheduler.fiber_);
}

void Scheduler::run_threads_on(Fiber& fiber) {
  while (begun_ < order_.size() && !stopped_) {
    Thread& thread = threads_[order_[begun_++]];
    thread.fiber = &fiber;
    run(thread);
    try {
      (*body_)();
    } catch (...) {
      thrown_ = std::current_exception();
    }
    if (thrown_) abandon();
    finish(*current_);
    if (!ready_.empty() && config().order == Order::random && coin()) break;
  }
  idle_.push_back(&fiber);
  if (Fiber* fiber_to_run = next(); fiber_to_run != &fiber) switch_to(fiber_to_run);
}

Fiber* Scheduler::idle_fiber() {
  if (idle_.empty()) {
    fibers_.push_back(std::make_unique<Fiber>(fiber_main));
    ++counters.fibers;
    return fibers_.back().get();
  }
  Fiber* fiber = idle_.back();
  idle_.pop_back();
  return fiber;
}

// After a block was abandoned: what its threads were doing is never finished.
void Scheduler::reset_fibers() {
  idle_.clear();
  for (auto& fiber : fibers_) {
    fiber->reset();
    idle_.push_back(fiber.get());
  }
}

// The fiber to go on with; null: the host, since no thread can run.
Fiber* Scheduler::next() {
  if (stopped_) return nullptr;
  const bool can_begin = begun_ < order_.size();
  if (ready_.empty()) return can_begin ? idle_fiber() : nullptr;
  if (can_begin && (config().order != Order::random || coin())) return idle_fiber();
  Thread& thread = take_ready();
  run(thread);
  return thread.fiber;
}

void Scheduler::run(Thread& thread) {
  thread.state = State::running;
  current_ = &thread;
  now.thread = number_of(thread);
  now.thread_index = thread.index;
  now.warp_clock = warp_of(thread).clock;
  now.seen = warp_of(thread).seen[std::size_t(lane_of(thread))].data();
  now.stack_begin = thread.fiber->stack_begin();
  now.stack_end = thread.fiber->stack_end();
}

void Scheduler::switch_to(Fiber* fiber) {
  ++counters.switches;
  Context& from = fiber_ != nullptr ? fiber_->context : host_;
  Context& to = fiber != nullptr ? fiber->context : host_;
  fiber_ = fiber;
  switch_context(from, to);
}

void Scheduler::abandon() {
  stopped_ = true;
  switch_to(nullptr);
  __builtin_unreachable();
}

bool Scheduler::on_a_stack(const void* address) const {
  const auto* p = static_cast<const char*>(address);
  return std::any_of(fibers_.begin(), fibers_.end(), [p](const auto& fiber) {
    return p >= fiber->stack_begin() && p < fiber->stack_end();
  });
}

// ---- Waiting

void Scheduler::wait() {
  if (current_->state == State::running) return;  // it was the last to arrive
  if (Fiber* fiber = next(); fiber != fiber_) switch_to(fiber);
}

// The last to arrive runs on, the others queue; in random order it may queue as well.
void Scheduler::make_ready(Thread& thread) {
  if (&thread == current_ && !(config().order == Order::random && coin())) {
    thread.state = State::running;
    return;
  }
  thread.state = State::ready;
  ready_.push_back(number_of(thread));
}

Scheduler::Thread& Scheduler::take_ready() {
  if (config().order == Order::forward) {
    const int number = ready_.front();
    ready_.pop_front();
    return threads_[std::size_t(number)];
  }
  if (config().order == Order::random) std::swap(ready_[random_() % ready_.size()], ready_.back());
  const int number = ready_.back();
  ready_.pop_back();
  return threads_[std::size_t(number)];
}

// ---- __syncthreads

int Scheduler::barrier(BarrierOp op, int predicate, Site site) {
  Thread& thread = *current_;
  thread.barrier_op = op;
  thread.predicate = predicate != 0;
  thread.site = site;
  thread.state = State::at_barrier;
  ++at_barrier_;
  complete_barrier();
  wait();
  return thread.predicate;
}

void Scheduler::complete_barrier() {
  if (live_ == 0 || at_barrier_ != live_) return;
  const Thread* first = nullptr;
  int count = 0;
  for (int i = 0; i < size_; ++i) {
    const Thread& t = threads_[std::size_t(i)];
    if (t.state != State::at_barrier) continue;
    if (first == nullptr) first = &t;
    count += t.predicate;
    if (t.barrier_op == first->barrier_op && same(t.site, first->site)) continue;
    report(
        Fault::barrier_diverged, Place(first->site),
        [&] {
          return fmt::format(
              "threads of one block wait at different barriers, {} at the first and {} at the "
              "second",
              thread_text(first->index), thread_text(t.index));
        },
        Place(t.site));
  }
  if (live_ < size_) {
    report(Fault::barrier_exited, Place(first->site), [&] {
      return fmt::format("a barrier, after {} of {} threads have returned", size_ - live_, size_);
    });
  }
  const int everyone = count == live_, anyone = count > 0;
  ++now.interval;
  at_barrier_ = 0;
  for (int i = 0; i < size_; ++i) {
    Thread& t = threads_[std::size_t(i)];
    if (t.state != State::at_barrier) continue;
    switch (t.barrier_op) {
      case BarrierOp::sync:
        t.predicate = 0;
        break;
      case BarrierOp::any:
        t.predicate = anyone;
        break;
      case BarrierOp::all:
        t.predicate = everyone;
        break;
      case BarrierOp::count:
        t.predicate = count;
        break;
    }
    make_ready(t);
  }
}

// ---- Warps

void Scheduler::warp_operation(const WarpRequest& request, Site site) {
  Thread& thread = *current_;
  const int lane = lane_of(thread), width = request.width;
  if ((request.mask >> lane & 1) == 0) {
    report(Fault::warp_operation, Place(site), [] { return "a lane is not in its own mask"; });
    abandon();
  }
  if (width < 1 || width > kWarp || (width & (width - 1)) != 0) {
    report(Fault::warp_operation, Place(site),
           [&] { return fmt::format("width {} is not a power of two up to 32", width); });
    abandon();
  }
  thread.request = request;
  thread.site = site;
  thread.state = State::at_warp;
  Warp& warp = warp_of(thread);
  warp.waiting |= 1u << lane;
  complete_warp_operation(warp, thread);
  wait();
}

// Lets the lanes that `arrived` waits for go on, once all of them are there.
void Scheduler::complete_warp_operation(Warp& warp, const Thread& arrived) {
  const unsigned lanes = arrived.request.mask & warp.live;
  if ((warp.waiting & lanes) != lanes) return;
  Thread* threads = &threads_[std::size_t(number_of(arrived) / kWarp * kWarp)];
  for_each_lane(lanes, [&](int lane) { check_agreement(arrived, threads[lane]); });
  exchange(warp, lanes, threads);
  if (arrived.request.op == WarpOp::sync) warp.synchronise(lanes);
  if (current_ != nullptr) now.warp_clock = warp_of(*current_).clock;
  warp.waiting &= ~lanes;
  for_each_lane(lanes, [&](int lane) { make_ready(threads[lane]); });
}

void Scheduler::check_agreement(const Thread& a, const Thread& b) {
  const WarpRequest &x = a.request, &y = b.request;
  if (x.mask == y.mask && x.op == y.op && x.width == y.width && x.size == y.size &&
      same(a.site, b.site))
    return;
  report(
      Fault::warp_diverged, Place(a.site),
      [&] {
        return fmt::format(
            "lanes of one mask meet at different operations or masks, {} at the first and {} at "
            "the second",
            thread_text(a.index), thread_text(b.index));
      },
      Place(b.site));
  abandon();
}

void Scheduler::exchange(Warp& warp, unsigned lanes, Thread* threads) {
  const WarpRequest request = threads[std::countr_zero(lanes)].request;
  std::array<std::array<unsigned char, 8>, kWarp> values{};
  std::array<unsigned char, 8> sum{};
  unsigned ballot = 0;
  bool first = true;
  for_each_lane(lanes, [&](int lane) {
    if (request.size == 0) return;
    auto& value = values[std::size_t(lane)];
    std::memcpy(value.data(), threads[lane].request.value, request.size);
    if (request.op == WarpOp::ballot && value[0] != 0) ballot |= 1u << lane;
    if (request.op != WarpOp::reduce) return;
    if (first)
      sum = value;
    else
      request.combine(sum.data(), value.data());
    first = false;
  });
  for_each_lane(lanes, [&](int lane) {
    const Thread& thread = threads[lane];
    void* result = thread.request.value;
    if (request.op == WarpOp::ballot) std::memcpy(result, &ballot, sizeof ballot);
    if (request.op == WarpOp::reduce) std::memcpy(result, sum.data(), request.size);
    if (!is_shuffle(request.op)) return;
    const int source = source_lane(thread.request, lane);
    if ((lanes >> source & 1) != 0) {
      std::memcpy(result, values[std::size_t(source)].data(), request.size);
      return;
    }
    std::memset(result, 0xff, request.size);
    const bool returned = (warp.live >> source & 1) == 0;
    report(Fault::shuffle_inactive, Place(thread.site), [&] {
      return fmt::format("{} reads from lane {}, which {}", thread_text(thread.index), source,
                         returned ? "has returned" : "is not in the mask");
    });
  });
}

void Scheduler::Warp::synchronise(unsigned lanes) {
  ++clock;
  std::array<std::uint32_t, kWarp> joined{};
  for_each_lane(lanes, [&](int lane) {
    const auto& known = seen[std::size_t(lane)];
    for (std::size_t i = 0; i < kWarp; ++i) joined[i] = std::max(joined[i], known[i]);
  });
  for_each_lane(lanes, [&](int lane) { joined[std::size_t(lane)] = clock; });
  for_each_lane(lanes, [&](int lane) { seen[std::size_t(lane)] = joined; });
}

// ---- What kernels and the checker call

uint3 thread_idx() noexcept { return now.thread_index; }
uint3 block_idx() noexcept { return now.block_index; }
dim3 block_dim() noexcept { return now.launch->block; }
dim3 grid_dim() noexcept { return now.launch->grid; }
int block_barrier(BarrierOp op, int predicate, Site site) {
  return scheduler.barrier(op, predicate, site);
}
void warp_operation(const WarpRequest& request, Site site) {
  scheduler.warp_operation(request, site);
}
void abandon_block() { scheduler.abandon(); }
bool on_a_stack(const void* address) { return scheduler.on_a_stack(address); }

}  // namespace simt

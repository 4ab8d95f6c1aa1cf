// The checker. Kernels are compiled with -fsanitize=thread and -fsanitize=undefined, but linked
// without the runtimes of those: the compiler's calls land here (hooks.cpp), and so do the accesses
// of kernels that are not C++. Every load and store of the unmodified source is seen.
//
// Races are found by what orders two accesses, not by their time, so the order in which the threads
// happen to run does not matter. Within a launch
//   accesses of one thread are ordered,
//   so are those of one block with a __syncthreads between them (Now::interval differs),
//   so are those of one warp if the later thread has seen the earlier access through __syncwarp,
//   and nothing else is.
// Each two bytes of memory remember their latest write, read and atomic update. A record that takes
// the place of another, unordered one (reads beside reads, atomics beside atomics) remembers that
// there were others. A write takes the place of one that is ordered before it: whoever is ordered
// behind it is so behind both.

#include <elf.h>
#include <fmt/format.h>
#include <link.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "tests/cuda_emu/emulator.h"

namespace simt {

namespace {

constexpr int kLanes = 32;

struct Record {
  enum Flag : std::uint8_t { other_warps = 1, other_blocks = 2 };
  const void* code;
  std::uint32_t interval, block;
  std::uint32_t clock;  ///< of the warp
  std::uint32_t lanes;  ///< of the warp, that accessed it in this interval, unordered
  std::uint16_t thread;
  std::uint8_t flags;
  std::uint8_t bytes;  ///< of the two, one bit each
};
struct Cell {
  std::array<Record, 3> records;
  Record& latest(Access access) { return records[std::size_t(access)]; }
};
constexpr std::size_t kCellBytes = 2;
constexpr std::uint8_t kBothBytes = 3;

/// What is known of a range of shared memory.
struct Shadow {
  explicit Shadow(std::size_t bytes) : cells(bytes / kCellBytes + 1), written(bytes) {}
  std::vector<Cell> cells;
  std::vector<std::uint32_t> written;  ///< the interval in which each byte was last written
};

/// A shared variable, or the part of a buffer that an address belongs to.
struct SharedRange {
  const char* name;
  const unsigned char* data;
  std::size_t size;
  Shadow* shadow;
  std::size_t shadow_offset;  ///< of data in the shadow
};

std::vector<SharedVariable*> g_variables;  // that the block has come to so far

// ---- Races

int warp_of(const Record& r) { return r.thread / kLanes; }
int this_warp() { return now.thread / kLanes; }
unsigned this_lane() { return 1u << (now.thread % kLanes); }

// The lanes of a record of this warp and interval that are not ordered before the running thread.
unsigned unseen_lanes(const Record& r) {
  const unsigned others = r.lanes & ~this_lane();
  if (r.clock == now.warp_clock) return others;  // nobody has synchronised since
  unsigned unseen = 0;
  for (unsigned lanes = others; lanes != 0; lanes &= lanes - 1) {
    const int lane = std::countr_zero(lanes);
    if (now.seen[lane] <= r.clock) unseen |= 1u << lane;
  }
  return unseen;
}

// True if an access of the record and the one that is about to happen may overlap in time.
bool unordered(const Record& r) {
  if (r.block != now.block || (r.flags & Record::other_blocks) != 0) return true;
  if (r.interval != now.interval) return false;
  if (warp_of(r) != this_warp() || (r.flags & Record::other_warps) != 0) return true;
  return unseen_lanes(r) != 0;
}

// Lets `next`, which takes the place of `old`, remember the others.
void remember_others(const Record& old, Record& next) {
  if (old.block != now.block) {
    next.flags |= Record::other_blocks;
    return;
  }
  next.flags |= old.flags & Record::other_blocks;
  if (old.interval != now.interval) return;
  next.flags |= old.flags & Record::other_warps;
  if (warp_of(old) != this_warp())
    next.flags |= Record::other_warps;
  else
    next.lanes |= unseen_lanes(old);
}

// Two accesses that need no order.
bool may_overlap(Access a, Access b) { return a == b && a != Access::write; }

const char* past(Access access) {
  return access == Access::read ? "read" : access == Access::write ? "wrote" : "updated atomically";
}

const char* passive(Access access) {
  return access == Access::read    ? "read"
         : access == Access::write ? "written"
                                   : "updated atomically";
}

struct Touch {
  Access access;
  const void* address;
  unsigned size;
  const void* code;
};

// `what` describes the memory; called only if there is something to report.
template <class What>
void report_race(bool shared, const Touch& touch, const Record& old, Access old_access, What what) {
  report(
      shared ? Fault::race_shared : Fault::race_global, Place(touch.code),
      [&] {
        return fmt::format(
            "{} is {}, and thread {} of block {} {} it with nothing to order the two", what(),
            passive(touch.access), old.thread, old.block, past(old_access));
      },
      Place(old.code));
}

template <class What>
void track(Cell& cell, std::uint8_t bytes, std::uint32_t since, bool shared, const Touch& touch,
           What what) {
  const auto applies = [&](const Record& r) {
    return r.interval >= since && (r.bytes & bytes) != 0;
  };
  for (const Access other : {Access::write, Access::read, Access::atomic}) {
    const Record& old = cell.latest(other);
    if (may_overlap(touch.access, other) || !applies(old) || !unordered(old)) continue;
    report_race(shared, touch, old, other, what);
    break;
  }
  Record next{
      touch.code, now.interval, now.block, now.warp_clock, this_lane(), std::uint16_t(now.thread),
      0,          bytes};
  Record& own = cell.latest(touch.access);
  if (touch.access != Access::write && applies(own)) remember_others(own, next);
  own = next;
}

template <class What>
void track_all(Cell* cells, std::size_t offset, std::uint32_t since, bool shared,
               const Touch& touch, What what) {
  Cell* cell = cells + offset / kCellBytes;
  if (touch.size == 1) {
    track(*cell, std::uint8_t(1u << offset % kCellBytes), since, shared, touch, what);
    return;
  }
  for (unsigned i = 0; i < touch.size / kCellBytes; ++i)
    track(cell[i], kBothBytes, since, shared, touch, what);
}

// ---- What an access can be wrong about

const char* verb(const Touch& touch) {
  return touch.access == Access::read ? "read" : touch.access == Access::write ? "write" : "atomic";
}

std::string sized(const Touch& touch) {
  return fmt::format("{} of {} bytes", verb(touch), touch.size);
}

template <class What>
[[noreturn]] void refuse(Fault fault, const Touch& touch, What what) {
  report(fault, Place(touch.code), [&] { return sized(touch) + " at " + what(); });
  abandon_block();
}

template <class What>
void check_alignment(const Touch& touch, What what) {
  if (reinterpret_cast<std::uintptr_t>(touch.address) % touch.size != 0)
    refuse(Fault::misaligned, touch, what);
}

Cell* device_cells() {
  static auto* cells = static_cast<Cell*>(reserve(device_space() / kCellBytes * sizeof(Cell)));
  return cells;
}

void touch_device(const Touch& touch) {
  const auto what = [&] { return describe_device(touch.address); };
  ByteState* states = byte_states(touch.address);
  unsigned found = 0;  // one bit for each state
  for (unsigned i = 0; i < touch.size; ++i) found |= 1u << int(states[i]);
  const auto has = [found](ByteState s) { return (found >> int(s) & 1) != 0; };
  if (has(ByteState::freed)) refuse(Fault::use_after_free, touch, what);
  if (has(ByteState::unallocated)) refuse(Fault::out_of_bounds, touch, what);
  check_alignment(touch, what);
  if (touch.access != Access::write && has(ByteState::uninitialised))
    report(Fault::uninitialised, Place(touch.code), [&] { return sized(touch) + " at " + what(); });
  if (touch.access != Access::read) std::fill(states, states + touch.size, ByteState::initialised);
  track_all(device_cells(), device_offset(touch.address), now.launch_interval, false, touch, what);
  if (now.profiled)
    profile_access(touch.code, touch.address, touch.size, touch.access != Access::read, false);
}

void touch_shared(const Touch& touch, const SharedRange& range) {
  const std::ptrdiff_t offset = static_cast<const unsigned char*>(touch.address) - range.data;
  const auto what = [&] {
    return fmt::format("byte {} of shared {} ({} bytes)", offset, range.name, range.size);
  };
  if (offset < 0 || std::size_t(offset) + touch.size > range.size)
    refuse(Fault::out_of_bounds, touch, what);
  check_alignment(touch, what);
  const std::size_t at = range.shadow_offset + std::size_t(offset);
  const auto written = range.shadow->written.begin() + std::ptrdiff_t(at);
  const auto old = [](std::uint32_t interval) { return interval < now.block_interval; };
  if (touch.access != Access::write && std::any_of(written, written + touch.size, old))
    report(Fault::uninitialised, Place(touch.code), [&] { return sized(touch) + " at " + what(); });
  if (touch.access != Access::read) std::fill(written, written + touch.size, now.interval);
  track_all(range.shadow->cells.data(), at, now.block_interval, true, touch, what);
  if (now.profiled)
    profile_access(touch.code, touch.address, touch.size, touch.access != Access::read, true);
}

// ---- Which memory an address belongs to

Shadow& shadow_of(SharedVariable& variable) {
  if (variable.shadow == nullptr) variable.shadow = new Shadow(variable.size);  // lives as long
  return *static_cast<Shadow*>(variable.shadow);
}

Shadow& buffer_shadow() {
  static Shadow shadow(now.shared.capacity);
  return shadow;
}

// The variable that the address is in, or just beside.
bool find_shared(const unsigned char* p, SharedRange& range) {
  for (SharedVariable* v : g_variables) {
    const auto* data = static_cast<const unsigned char*>(v->data);
    if (p < data - v->guard || p >= data + v->size + v->guard) continue;
    range = {v->name, data, v->size, &shadow_of(*v), 0};
    return true;
  }
  const SharedBuffer& buffer = now.shared;
  if (p < buffer.data || p >= buffer.data + buffer.capacity) return false;
  const SharedRegion* region = &buffer.regions.front();
  for (const auto& r : buffer.regions)
    if (buffer.data + r.offset <= p) region = &r;
  range = {region->name.c_str(), buffer.data + region->offset, region->size, &buffer_shadow(),
           region->offset};
  return true;
}

bool in_parameters(const Touch& touch) {
  const auto* begin = static_cast<const char*>(now.launch->parameters.get());
  const auto* p = static_cast<const char*>(touch.address);
  return p >= begin && p < begin + now.launch->parameters_size;
}

// Constants of the program: g++ keeps constexpr tables of a kernel there.
bool is_read_only(const void* address) {
  using Range = std::pair<std::uintptr_t, std::uintptr_t>;
  static const std::vector<Range> ranges = [] {
    std::vector<Range> found;
    dl_iterate_phdr(
        [](dl_phdr_info* info, std::size_t, void* result) {
          for (int i = 0; i < info->dlpi_phnum; ++i) {
            const auto& segment = info->dlpi_phdr[i];
            const std::uintptr_t begin = info->dlpi_addr + segment.p_vaddr;
            if (segment.p_type == PT_LOAD && (segment.p_flags & PF_W) == 0)
              static_cast<std::vector<Range>*>(result)->push_back({begin, begin + segment.p_memsz});
          }
          return 1;  // the first one is the program
        },
        &found);
    return found;
  }();
  const auto a = reinterpret_cast<std::uintptr_t>(address);
  return std::any_of(ranges.begin(), ranges.end(),
                     [a](const Range& r) { return a >= r.first && a < r.second; });
}

void touch_elsewhere(const Touch& touch) {
  if (touch.access == Access::read && (in_parameters(touch) || is_read_only(touch.address))) return;
  if (on_a_stack(touch.address))
    refuse(Fault::foreign_local, touch, [] { return "a local variable of another thread"; });
  refuse(Fault::host_pointer, touch, [&] { return describe_device(touch.address); });
}

bool on_own_stack(const void* address) {
  const auto* p = static_cast<const char*>(address);
  return p >= now.stack_begin && p < now.stack_end;
}

void touch_by_host(const Touch& touch) {
  if (!is_device(touch.address)) return;
  report(Fault::host_access, Place(touch.code),
         [&] { return "host code: " + sized(touch) + " at " + describe_device(touch.address); });
}

void fill_with_junk(void* data, std::size_t size) { std::memset(data, 0xff, size); }  // NaN, -1

}  // namespace

void on_access(Access access, const void* address, unsigned size, const void* code) {
  if (LookAway::depth > 0) return;
  const Touch touch{access, address, size, code};
  if (now.thread < 0) return touch_by_host(touch);
  if (on_own_stack(address)) return;
  ++counters.accesses;
  if (is_device(address)) return touch_device(touch);
  SharedRange range;
  if (find_shared(static_cast<const unsigned char*>(address), range))
    return touch_shared(touch, range);
  touch_elsewhere(touch);
}

void on_atomic(void* address, unsigned size, const void* code) {
  if (now.thread >= 0) on_access(Access::atomic, address, size, code);
}

void enter_shared(SharedVariable& variable) {
  if (variable.block == now.block_interval) return;
  variable.block = now.block_interval;
  add_static_smem(variable);
  fill_with_junk(variable.data, variable.size);
  g_variables.push_back(&variable);
}

void checker_begin_block() {
  g_variables.clear();
  const SharedRegion& last = now.shared.regions.back();
  fill_with_junk(now.shared.data, last.offset + last.size);
}

}  // namespace simt

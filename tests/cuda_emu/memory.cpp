// The address space of the device: a range of host addresses that nobody but kernels and the
// runtime can touch. Allocations are far apart, and addresses are not used again until nothing is
// allocated, so that an access beyond or after an allocation is found.

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <stdexcept>

#include "tests/cuda_emu/emulator.h"

namespace simt {

namespace {

constexpr std::size_t kSpace = std::size_t(8) << 30;
constexpr std::size_t kHugePage = std::size_t(2) << 20;
constexpr std::size_t kAlignment = 256;  // cudaMalloc promises as much
constexpr std::size_t kMinGap = std::size_t(4) << 10, kMaxGap = std::size_t(1) << 20;
constexpr std::size_t kPage = 4096;

struct Allocation {
  std::size_t size;
  int number;
  enum { reserved, allocated, freed } state;
};

struct Memory {
  unsigned char* base;
  ByteState* states;
  std::map<std::size_t, Allocation> allocations;  // by offset
  std::size_t end = 0;                            // of what was ever used
  std::size_t bytes_in_use = 0;
  int alive = 0, next_number = 1;
  int open = 0;  // how many DeviceAccess live
};

void* map_memory(std::size_t bytes, int protection) {
  void* p = mmap(nullptr, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED)
    throw std::runtime_error(
        fmt::format("the CUDA emulation cannot reserve {} GiB of address space; does ulimit -v or "
                    "vm.overcommit_memory forbid it?",
                    bytes >> 30));
  return p;
}

// On huge pages where the system has them: it changes the protection of each page by itself.
unsigned char* map_device_space() {
  auto begin = reinterpret_cast<std::uintptr_t>(map_memory(kSpace + kHugePage, PROT_NONE));
  begin = (begin + kHugePage - 1) / kHugePage * kHugePage;
  auto* base = reinterpret_cast<unsigned char*>(begin);
  madvise(base, kSpace, MADV_HUGEPAGE);
  return base;
}

Memory& memory() {
  static Memory m{map_device_space(), static_cast<ByteState*>(reserve(kSpace)), {}};
  return m;
}

std::size_t rounded_up(std::size_t n, std::size_t step) { return (n + step - 1) / step * step; }

std::size_t gap_behind(std::size_t size) { return std::clamp(size, kMinGap, kMaxGap); }

void protect(int protection) {
  Memory& m = memory();
  if (m.end > 0) mprotect(m.base, rounded_up(m.end, kHugePage), protection);
}

// Nothing is allocated: begin anew. The pages read as zero afterwards: unallocated.
void forget_all(Memory& m) {
  if (m.end > 0) madvise(m.states, rounded_up(m.end, kPage), MADV_DONTNEED);
  m.allocations.clear();
  m.end = 0;
}

std::map<std::size_t, Allocation>::iterator find_exactly(const void* address) {
  Memory& m = memory();
  return is_device(address) ? m.allocations.find(device_offset(address)) : m.allocations.end();
}

void set_states(std::size_t offset, std::size_t size, ByteState state) {
  std::fill_n(memory().states + offset, size, state);
}

}  // namespace

void* reserve(std::size_t bytes) { return map_memory(bytes, PROT_READ | PROT_WRITE); }

DeviceAccess::DeviceAccess() {
  if (memory().open++ == 0) protect(PROT_READ | PROT_WRITE);
}
DeviceAccess::~DeviceAccess() {
  if (--memory().open == 0) protect(PROT_NONE);
}

bool is_device(const void* address) { return device_offset(address) < kSpace; }

ByteState* byte_states(const void* address) { return memory().states + device_offset(address); }

std::size_t device_offset(const void* address) {
  return reinterpret_cast<std::uintptr_t>(address) -
         reinterpret_cast<std::uintptr_t>(memory().base);
}

std::size_t device_space() { return kSpace; }
std::size_t device_bytes_in_use() { return memory().bytes_in_use; }

std::string describe_device(const void* address) {
  if (address == nullptr) return "a null pointer";
  if (!is_device(address)) {
    return fmt::format("{}, which is not device memory", address);
  }
  const Memory& m = memory();
  const std::size_t offset = device_offset(address);
  auto it = m.allocations.upper_bound(offset);
  if (it == m.allocations.begin()) return "device memory that was never allocated";
  --it;
  const Allocation& a = it->second;
  const char* state = a.state == Allocation::freed      ? ", freed"
                      : a.state == Allocation::reserved ? ", not yet allocated in its stream"
                                                        : "";
  return fmt::format("byte {} of device allocation {} ({} bytes{})", offset - it->first, a.number,
                     a.size, state);
}

void* device_reserve(std::size_t bytes) {
  Memory& m = memory();
  if (m.alive == 0) forget_all(m);
  const std::size_t offset = rounded_up(m.end + kMinGap, kAlignment);
  const std::size_t end = offset + bytes + gap_behind(bytes);
  if (m.bytes_in_use + bytes > config().device_bytes || end > kSpace) return nullptr;
  m.end = end;
  if (m.open > 0) protect(PROT_READ | PROT_WRITE);
  m.allocations[offset] = {bytes, m.next_number++, Allocation::reserved};
  m.bytes_in_use += bytes;
  ++m.alive;
  return m.base + offset;
}

void device_allocate(void* address) {
  const DeviceAccess open;
  const auto it = find_exactly(address);
  it->second.state = Allocation::allocated;
  std::memset(address, 0xff, it->second.size);  // junk: NaN, -1
  set_states(it->first, it->second.size, ByteState::uninitialised);
}

void device_free(void* address) {
  Memory& m = memory();
  const auto it = find_exactly(address);
  it->second.state = Allocation::freed;
  set_states(it->first, it->second.size, ByteState::freed);
  m.bytes_in_use -= it->second.size;
  --m.alive;
}

bool is_reserved(const void* address) {
  const auto it = find_exactly(address);
  return it != memory().allocations.end() && it->second.state != Allocation::freed;
}

bool check_range(const void* address, std::size_t bytes, bool read, const char* what,
                 const Place& caller) {
  if (bytes == 0) return true;
  const auto* begin = static_cast<const unsigned char*>(address);
  const auto wrong = [&](Fault fault, const void* at) {
    report(fault, caller, [&] { return std::string(what) + " is " + describe_device(at); });
    return false;
  };
  if (!is_device(begin)) return wrong(Fault::host_pointer, begin);
  if (!is_device(begin + bytes - 1)) return wrong(Fault::out_of_bounds, begin);
  const ByteState* states = byte_states(begin);
  for (std::size_t i = 0; i < bytes; ++i) {
    if (states[i] == ByteState::freed) return wrong(Fault::use_after_free, begin + i);
    if (states[i] == ByteState::unallocated) return wrong(Fault::out_of_bounds, begin + i);
    if (read && states[i] == ByteState::uninitialised)
      return wrong(Fault::uninitialised, begin + i);
  }
  return true;
}

void mark_initialised(const void* address, std::size_t bytes) {
  std::fill_n(byte_states(address), bytes, ByteState::initialised);
}

}  // namespace simt

#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "tests/cuda_emu/control.h"
#include "tests/cuda_emu/include/cuda_runtime.h"

// Inside the emulator: what its files know of each other.
//
//   scheduler.cpp  runs one block at a time, each suspended thread on a fiber
//   checker.cpp    sees every access of a kernel: races, bounds, initialisation
//   profile.cpp    sectors and wavefronts
//   memory.cpp     the address space of the device
//   streams.cpp    streams and events
//   runtime.cpp    the rest of the CUDA runtime; cublas.cpp: matrix products
//   reports.cpp    reports, and the lines of source that addresses stand for

namespace simt {

// ---- Places in the source, and reports

/// Where something happened: a line, or an address that stands for one (a return address in
/// compiled code, or whatever a KernelSource makes of it).
struct Place {
  const void* code = nullptr;
  Site site{};
  Place() = default;
  explicit Place(const void* code_) : code(code_) {}
  explicit Place(Site site_) : site(site_) {}
};
/// "file:line", with " (inlined at file:line)" where that helps; "" for no place.
std::string describe(const Place& place);

/// True if such a report was not made yet, and there were not too many.
bool is_new_report(Fault fault, const Place& at, const Place& against);
void add_report(Fault fault, const Place& at, const Place& against, const std::string& text);
/// How many reports were made since the start of the program.
std::uint64_t reports_made();
/// While one of these lives the checker looks away. The linker may have taken a function of the
/// standard library, such as one of std::string, from the instrumented host code of a .cu file.
class LookAway {
 public:
  LookAway() { ++depth; }
  ~LookAway() { --depth; }
  LookAway(const LookAway&) = delete;
  LookAway& operator=(const LookAway&) = delete;
  static inline int depth = 0;
};
/// Makes a report unless it is known already. `text` returns the sentence, without the places.
template <class Text>
void report(Fault fault, const Place& at, Text text, const Place& against = {}) {
  const LookAway away;
  if (is_new_report(fault, at, against)) add_report(fault, at, against, text());
}

/// What cudaGetLastError returns. Sticky: it stays, as after a kernel that crashed, and every call
/// returns it.
void set_error(cudaError_t error, bool sticky);
void clear_errors();

// ---- What runs now

/// A variable in a block's shared memory.
struct SharedRegion {
  std::string name;
  std::size_t offset, size;
};
/// The shared memory of a block, except for static variables of C++ kernels, which are C++ statics.
struct SharedBuffer {
  unsigned char* data = nullptr;
  std::size_t capacity = 0;
  std::vector<SharedRegion> regions;  ///< by offset; the last one is the dynamic shared memory
};

/// The kernel, block and thread that run now. thread is -1 while host code runs.
struct Now {
  const Launch* launch = nullptr;
  uint3 block_index{};
  std::uint32_t block = 0;  ///< index of the block in the grid
  /// A stretch between two __syncthreads of a block. They are numbered from 1 since the start of
  /// the program, so "in this launch" is: not before launch_interval.
  std::uint32_t interval = 0;
  std::uint32_t launch_interval = 0, block_interval = 0;  ///< the first of this launch and block
  int thread = -1;                                        ///< index in the block
  uint3 thread_index{};
  /// The clock of the thread's warp: it goes on at every __syncwarp of any of its lanes. What lane
  /// i did before seen[i] this thread has seen, through __syncwarp.
  std::uint32_t warp_clock = 0;
  const std::uint32_t* seen = nullptr;
  SharedBuffer shared;
  bool profiled = false;  ///< profile_access is to be called for every access
  const char *stack_begin = nullptr, *stack_end = nullptr;  ///< of the thread's fiber
};
extern Now now;

extern Stats counters;

/// Stops the block that runs now, from inside one of its threads.
[[noreturn]] void abandon_block();

/// True if the address is on the stack of a fiber.
bool on_a_stack(const void* address);

// ---- Kernels that are not C++

/// What one thread of a launch runs in place of the C++ kernel. The emulator calls run_thread once
/// for each thread, on that thread's fiber; it returns when the thread does. Meanwhile it calls
/// thread_idx() and so on, block_barrier, warp_operation (simt.h), and on_access before each
/// access.
class KernelBody {
 public:
  virtual ~KernelBody() = default;
  /// The static shared variables, by offset. Leave shared_guard(size) bytes behind each: that is
  /// how an access beyond it is found.
  virtual std::span<const SharedRegion> shared_regions() const = 0;
  /// arguments: the address of each, in order. shared: where offset 0 of the regions is, at a
  /// multiple of 1024; dynamic shared memory is at dynamic_smem().
  virtual void run_thread(void* const* arguments, unsigned char* shared) const = 0;
};

/// A collection of such kernels, for example a PTX file.
class KernelSource {
 public:
  virtual ~KernelSource() = default;
  /// Throws std::runtime_error if it lacks the kernel. `kernel` is the address of the C++ one.
  virtual const KernelBody& find(const void* kernel) = 0;
  /// Sets the place that a `code` of on_access stands for. False if it is none of its own.
  virtual bool locate(const void* code, std::string& where, std::string& source) const = 0;
};
/// From now on launches take their kernels from here; null: the C++ ones again.
void set_kernel_source(KernelSource* source);
KernelSource* kernel_source();

enum class Access : std::uint8_t { read, write, atomic };
/// The checker: called by the running thread before it touches memory of `size` bytes, 1 to 16.
/// Does not return if the access could not be carried out: the block is abandoned then.
void on_access(Access access, const void* address, unsigned size, const void* code);

// ---- Checker and profile, as the scheduler drives them

/// Fills the shared buffer with junk.
void checker_begin_block();
/// Counts a static variable of a C++ kernel that the block has come to: there is a limit.
void add_static_smem(const SharedVariable& variable);
void profile_begin_block();
void profile_end_block();
/// Called by the checker for every access that is in order, if Now::profiled.
void profile_access(const void* code, const void* address, unsigned size, bool write, bool shared);

// ---- Device memory

/// While one of these lives, device memory can be touched; otherwise a touch is a SIGSEGV.
class DeviceAccess {
 public:
  DeviceAccess();
  ~DeviceAccess();
  DeviceAccess(const DeviceAccess&) = delete;
  DeviceAccess& operator=(const DeviceAccess&) = delete;
};

enum class ByteState : std::uint8_t { unallocated, uninitialised, initialised, freed };

/// True if the address is in the device's address space, allocated or not.
bool is_device(const void* address);
/// The states of the bytes from `address` on, which is_device.
ByteState* byte_states(const void* address);
/// Offset of a device address in the device's address space, and that space's size.
std::size_t device_offset(const void* address);
std::size_t device_space();
/// "byte 12 of device allocation 3 (256 bytes)", for people; any address.
std::string describe_device(const void* address);

/// Reserves zeroed memory that takes no room until it is touched.
void* reserve(std::size_t bytes);

/// Takes a piece of the address space, not yet allocated for kernels; null: not enough is left.
void* device_reserve(std::size_t bytes);
/// Makes it usable, filled with junk, or unusable.
void device_allocate(void* address);
void device_free(void* address);
/// True if it is the beginning of a piece that was reserved and not freed.
bool is_reserved(const void* address);

/// Checks a range that the runtime or cuBLAS is about to use; reports and returns false if it is
/// not allocated device memory, or is read and not initialised. `what` names it.
bool check_range(const void* address, std::size_t bytes, bool read, const char* what,
                 const Place& caller);
void mark_initialised(const void* address, std::size_t bytes);

// ---- Streams

/// Puts work into a stream (null: the default one). In eager streams it runs before this returns.
void enqueue(Stream* stream, std::function<void()> work);
/// Runs a stream's work, or that of all of them, and with it what else happens to run meanwhile.
void synchronise(Stream* stream);
void synchronise_all();

}  // namespace simt

#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

// What tests see of the emulator: how it runs kernels, what its checker found, and how kernels use
// memory. Kernels and the backend include none of this.

namespace simt {

/// The order in which threads, warps and blocks run and go on after a barrier.
enum class Order : std::uint8_t { forward, reverse, random };
/// eager: the work of a stream runs at once. lazy: only when somebody waits for it, and then the
/// streams run in a random interleaving.
enum class Streams : std::uint8_t { eager, lazy };

struct Config {
  Order order = Order::forward;
  Streams streams = Streams::eager;
  std::uint64_t seed = 1;                           ///< of everything random
  bool profile = false;                             ///< collect what profile() returns
  std::size_t device_bytes = std::size_t(1) << 30;  ///< cudaMalloc fails beyond this
  int devices = 1;                                  ///< 0: as on a machine without a GPU
};
/// At first what the environment variable MUONLAB_EMULATION says, a list of words: "forward",
/// "reverse", "random", "eager", "lazy", "seed=7", "devices=0", "bytes=1000000" (device_bytes). A
/// word that is none of these ends the program.
Config& config();

/// What the checker can find.
enum class Fault : std::uint8_t {
  race_shared,
  race_global,
  out_of_bounds,
  use_after_free,
  uninitialised,
  misaligned,
  host_pointer,      ///< a kernel uses an address that is neither device nor shared memory
  foreign_local,     ///< a kernel uses a local variable of another thread
  host_access,       ///< host code of a .cu file uses device memory
  barrier_diverged,  ///< threads of a block meet at different __syncthreads
  barrier_exited,    ///< __syncthreads after threads of the block returned
  warp_diverged,     ///< lanes of a warp meet at different operations or masks
  warp_operation,    ///< a mask without the calling lane, a width that is no power of two
  shuffle_inactive,  ///< a shuffle reads from a lane that does not take part
  deadlock,
  launch_limit,
  undefined,    ///< undefined behaviour, as UBSan defines it
  memcpy_kind,  ///< cudaMemcpyKind does not fit the pointers
  bad_handle,   ///< a stream, event or pointer that the runtime does not know
};
/// "race-shared" and so on.
const char* name(Fault fault);

struct Report {
  Fault fault;
  std::string where;    ///< "file:line"; a barrier, an access or a call of the runtime
  std::string against;  ///< the other place, for races and divergence
  std::string kernel;   ///< empty: no kernel was running
  std::string text;     ///< the whole of it, for people
};
/// What was found since the last call. Takes back the CUDA error that a report sets as well.
/// Reports that nobody has taken are printed when the program ends, and make it exit with 1.
std::vector<Report> take_reports();

/// How the warps of a kernel use memory in one place, counted in the first blocks of each launch.
struct LineProfile {
  std::string where;   ///< "file:line"
  std::string source;  ///< the text of that line
  std::string kernel;
  bool shared = false, write = false;
  unsigned size = 0;  ///< bytes for one thread
  std::uint64_t requests = 0;
  /// Global memory: 32-byte sectors. Shared: wavefronts, 1 if no two lanes meet in a bank.
  std::uint64_t transactions = 0;
  /// As few as there could be for these many different bytes.
  std::uint64_t ideal = 0;
  double per_request() const { return double(transactions) / double(requests); }
  double ideal_per_request() const { return double(ideal) / double(requests); }
};
/// Everything counted since the last call, while config().profile was set.
std::vector<LineProfile> take_profile();

/// Counters since the start of the program.
struct Stats {
  std::uint64_t launches = 0, blocks = 0, threads = 0, switches = 0, accesses = 0;
  std::uint64_t fibers = 0;  ///< stacks that exist
};
const Stats& stats();

/// Device memory that is allocated now.
std::size_t device_bytes_in_use();

}  // namespace simt

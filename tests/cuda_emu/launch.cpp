// Launches: limits, the layout of shared memory, and the blocks of a grid one after the other.

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "tests/cuda_emu/scheduler.h"
#include "tests/cuda_emu/source_lines.h"

namespace simt {

namespace {

// Compute capability 9.0, from the table "Technical Specifications per Compute Capability" of the
// CUDA C++ Programming Guide; the first three limits are the same for all of today's devices.
constexpr unsigned kMaxBlockZ = 64;
constexpr unsigned kMaxGridX = 0x7fffffff, kMaxGridYZ = 65535;
constexpr std::size_t kDefaultSmem = std::size_t(48) << 10;
constexpr std::size_t kMaxSmem = std::size_t(227) << 10;

constexpr std::size_t kBufferAlignment = 1024;
// Static variables of a KernelBody with their guards, then the dynamic shared memory.
constexpr std::size_t kBufferBytes = 2 * kMaxSmem + (std::size_t(64) << 10);

std::map<const void*, std::size_t>& opted_in() {
  static std::map<const void*, std::size_t> limits;
  return limits;
}

bool has_opted_in(const void* kernel) { return opted_in().count(kernel) != 0; }

// How much dynamic shared memory a launch may ask for.
std::size_t dynamic_limit(const void* kernel) {
  return has_opted_in(kernel) ? std::max(kDefaultSmem, opted_in().at(kernel)) : kDefaultSmem;
}

std::string size_text(dim3 d) { return fmt::format("({},{},{})", d.x, d.y, d.z); }

// What is wrong with the sizes of a launch; empty: nothing.
std::string broken_limit(const Launch& launch) {
  const dim3 g = launch.grid, b = launch.block;
  const std::uint64_t threads = std::uint64_t(b.x) * b.y * b.z;
  if (threads == 0 || g.x == 0 || g.y == 0 || g.z == 0)
    return fmt::format("grid {} of blocks {} is empty", size_text(g), size_text(b));
  if (threads > kMaxThreads || b.z > kMaxBlockZ)
    return fmt::format("block {}: at most {} threads, z at most {}", size_text(b), kMaxThreads,
                       kMaxBlockZ);
  if (g.x > kMaxGridX || g.y > kMaxGridYZ || g.z > kMaxGridYZ)
    return fmt::format("grid {}: y and z at most {}", size_text(g), kMaxGridYZ);
  return "";
}

std::string too_much_smem(std::size_t wanted, std::size_t limit) {
  return fmt::format("{} bytes of shared memory; this kernel may have {}", wanted, limit);
}

// Its first line. Places of code are return addresses, one behind what they mean.
Place place_of(const void* kernel) { return Place(static_cast<const char*>(kernel) + 1); }

unsigned char* shared_buffer() {
  static auto* buffer =
      static_cast<unsigned char*>(std::aligned_alloc(kBufferAlignment, kBufferBytes));
  return buffer;
}

std::size_t rounded_up(std::size_t n, std::size_t step) { return (n + step - 1) / step * step; }

// The static variables where the body wants them, then the dynamic shared memory.
SharedBuffer lay_out(const KernelBody* body, std::size_t dynamic_bytes) {
  SharedBuffer shared{shared_buffer(), kBufferBytes, {}};
  std::size_t end = shared_guard(dynamic_bytes);
  if (body != nullptr) {
    const auto regions = body->shared_regions();
    shared.regions.assign(regions.begin(), regions.end());
    for (const auto& r : regions) end = std::max(end, r.offset + r.size + shared_guard(r.size));
  }
  shared.regions.push_back(
      {"dynamic shared memory", rounded_up(end, kBufferAlignment), dynamic_bytes});
  return shared;
}

std::size_t g_static_smem = 0;  // of C++ variables that the block has come to so far

// While a launch runs.
struct Running {
  explicit Running(const Launch& launch) {
    now.launch = &launch;
    now.launch_interval = now.interval + 1;
    ++counters.launches;
  }
  ~Running() {
    now.launch = nullptr;
    now.thread = -1;
  }
};

void run_grid(const Launch& launch) {
  const DeviceAccess open;
  const Running running(launch);
  const std::uint64_t reports_before = reports_made();
  const KernelBody* body =
      kernel_source() != nullptr ? &kernel_source()->find(launch.kernel) : nullptr;
  now.shared = lay_out(body, launch.dynamic_smem);
  // A seed of its own for each launch, a function of the configured one.
  scheduler.seed(config().seed * 0x9e3779b97f4a7c15ull + stats().launches);

  const dim3 grid = launch.grid;
  std::vector<std::uint32_t> blocks(std::size_t(grid.x) * grid.y * grid.z);
  std::iota(blocks.begin(), blocks.end(), 0u);
  scheduler.put_in_order(blocks);
  const auto run_thread = [&] {
    if (body != nullptr)
      body->run_thread(launch.arguments.data(), now.shared.data);
    else
      launch.body(launch.parameters.get());
  };
  bool ok = true;
  for (const std::uint32_t block : blocks) {
    now.block = block;
    now.block_index = {block % grid.x, block / grid.x % grid.y, block / grid.x / grid.y};
    g_static_smem = 0;
    checker_begin_block();
    profile_begin_block();
    ok = scheduler.run_block(launch.block, run_thread);
    profile_end_block();
    if (!ok) break;
  }
  if (!ok)
    set_error(cudaErrorLaunchFailure, true);
  else if (reports_made() > reports_before)
    set_error(cudaErrorIllegalAddress, true);
}

KernelSource* g_source = nullptr;

}  // namespace

void set_kernel_source(KernelSource* source) { g_source = source; }
KernelSource* kernel_source() { return g_source; }

void enqueue_launch(Launch launch, Stream* stream) {
  const Place kernel = place_of(launch.kernel);
  if (const std::string broken = broken_limit(launch); !broken.empty()) {
    report(Fault::launch_limit, kernel,
           [&] { return function_name(launch.kernel) + ": " + broken; });
    set_error(cudaErrorInvalidConfiguration, false);
    return;
  }
  const std::size_t limit = dynamic_limit(launch.kernel);
  if (launch.dynamic_smem > limit) {
    report(Fault::launch_limit, kernel, [&] {
      return function_name(launch.kernel) + ": " + too_much_smem(launch.dynamic_smem, limit);
    });
    set_error(cudaErrorInvalidValue, false);
    return;
  }
  enqueue(stream, [launch = std::move(launch)] { run_grid(launch); });
}

unsigned char* dynamic_smem() { return now.shared.data + now.shared.regions.back().offset; }

void add_static_smem(const SharedVariable& variable) {
  g_static_smem += variable.size;
  const void* kernel = now.launch->kernel;
  const std::size_t both = g_static_smem + now.launch->dynamic_smem;
  const std::size_t limit = has_opted_in(kernel) ? kMaxSmem : kDefaultSmem;
  if (g_static_smem <= kDefaultSmem && both <= limit) return;
  report(Fault::launch_limit, place_of(kernel), [&] {
    return fmt::format("{}, at most {} of them static; {} goes beyond", too_much_smem(both, limit),
                       kDefaultSmem, variable.name);
  });
  abandon_block();
}

}  // namespace simt

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  const bool ok = attribute == cudaFuncAttributeMaxDynamicSharedMemorySize && value >= 0 &&
                  std::size_t(value) <= simt::kMaxSmem;
  if (!ok) {
    simt::set_error(cudaErrorInvalidValue, false);
    return cudaErrorInvalidValue;
  }
  simt::opted_in()[kernel] = std::size_t(value);
  return cudaSuccess;
}

// Reports of the checker, and the lines of source that addresses stand for.

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <set>
#include <tuple>
#include <utility>

#include "tests/cuda_emu/emulator.h"
#include "tests/cuda_emu/source_lines.h"

namespace simt {

namespace {

struct FaultText {
  const char* name;
  const char* advice;  ///< what to look at
};

FaultText text_of(Fault fault) {
  switch (fault) {
    case Fault::race_shared:
      return {"race-shared",
              "A __syncthreads (or within a warp a __syncwarp; shuffles order nothing) is missing "
              "between the two lines, or in a loop between one round and the next."};
    case Fault::race_global:
      return {"race-global",
              "Blocks are never ordered: let each write its own elements, use integer atomics, or "
              "make two kernels of it. Within a block a __syncthreads may be missing."};
    case Fault::out_of_bounds:
      return {"out-of-bounds", "Check the bounds of the loop and the size that was allocated."};
    case Fault::use_after_free:
      return {"use-after-free",
              "The memory was freed before this work ran: free it in the order of the stream."};
    case Fault::uninitialised:
      return {
          "uninitialised",
          "Nobody has written this yet (shared memory: in this block). Look for a bound that is "
          "too small where it is written, or a missing copy or memset."};
    case Fault::misaligned:
      return {"misaligned", "A vector access needs an address that is a multiple of its size."};
    case Fault::host_pointer:
      return {"host-pointer",
              "Kernels can use device memory, shared memory and their own locals: look at the "
              "arguments of the launch."};
    case Fault::foreign_local:
      return {"foreign-local", "A local variable belongs to its thread: use shared memory."};
    case Fault::host_access:
      return {"host-access", "Copy it to the host with cudaMemcpy."};
    case Fault::barrier_diverged:
      return {"barrier-diverged",
              "All threads of a block must come to the same __syncthreads: move it out of the "
              "branch."};
    case Fault::barrier_exited:
      return {"barrier-exited", "Let all threads stay, and put the work into the if."};
    case Fault::warp_diverged:
      return {"warp-diverged",
              "All lanes of a mask must come to the same operation with the same mask."};
    case Fault::warp_operation:
      return {"warp-operation", "Look at the mask and the width."};
    case Fault::shuffle_inactive:
      return {"shuffle-inactive", "The value is undefined: read from a lane that takes part."};
    case Fault::deadlock:
      return {"deadlock", "Some threads wait for others that wait elsewhere or have returned."};
    case Fault::launch_limit:
      return {"launch-limit",
              "More than 48 KB of dynamic shared memory needs cudaFuncSetAttribute with "
              "cudaFuncAttributeMaxDynamicSharedMemorySize."};
    case Fault::undefined:
      return {"undefined", "The C++ standard says nothing about what happens then."};
    case Fault::memcpy_kind:
      return {"memcpy-kind", "Look at the direction of the copy."};
    case Fault::bad_handle:
      return {"bad-handle", "It was never made, or is destroyed already."};
  }
  return {"", ""};
}

constexpr std::size_t kMaxReports = 100;

struct State {
  std::vector<Report> reports;
  std::set<std::tuple<Fault, const void*, const void*, std::string, const void*, std::string>>
      known;
  std::uint64_t made = 0;
};
State& state() {
  static State s;
  return s;
}

std::string text_of(const uint3& i) { return fmt::format("({},{},{})", i.x, i.y, i.z); }

std::string site_key(const Place& place) {
  return place.site.file == nullptr ? "" : fmt::format("{}:{}", place.site.file, place.site.line);
}

auto key_of(Fault fault, const Place& at, const Place& against) {
  const void* kernel = now.launch != nullptr ? now.launch->kernel : nullptr;
  return std::tuple(fault, kernel, at.code, site_key(at), against.code, site_key(against));
}

void fail_if_not_taken() {
  if (state().reports.empty()) return;
  std::fprintf(stderr, "The checker of the CUDA emulation has reports that no test took:\n");
  for (const auto& report : state().reports) std::fprintf(stderr, "  %s\n", report.text.c_str());
  std::fflush(nullptr);
  std::_Exit(1);
}

}  // namespace

const char* name(Fault fault) { return text_of(fault).name; }

std::uint64_t reports_made() { return state().made; }

bool is_new_report(Fault fault, const Place& at, const Place& against) {
  ++state().made;
  return state().reports.size() < kMaxReports &&
         state().known.insert(key_of(fault, at, against)).second;
}

void add_report(Fault fault, const Place& at, const Place& against, const std::string& text) {
  [[maybe_unused]] static const int registered = std::atexit(fail_if_not_taken);
  Report report;
  report.fault = fault;
  report.where = line_of(at).where;
  report.against = line_of(against).where;
  report.text = name(fault) + std::string(": ") + text;
  if (!report.where.empty()) report.text += "; at " + describe(at);
  if (!report.against.empty()) report.text += ", against " + describe(against);
  if (now.launch != nullptr) {
    report.kernel = function_name(now.launch->kernel);
    report.text += "; kernel " + report.kernel + ", block " + text_of(now.block_index);
    if (now.thread >= 0) report.text += ", thread " + text_of(now.thread_index);
  }
  report.text += std::string(". ") + text_of(fault).advice;
  if (fault == Fault::host_access) {  // the program is about to crash
    std::fprintf(stderr, "%s\n", report.text.c_str());
  }
  state().reports.push_back(std::move(report));
}

std::vector<Report> take_reports() {
  clear_errors();
  state().known.clear();
  return std::exchange(state().reports, {});
}

std::string describe(const Place& place) {
  const SourceLine line = line_of(place);
  return line.inlined_at.empty() ? line.where
                                 : line.where + " (inlined at " + line.inlined_at + ")";
}

}  // namespace simt

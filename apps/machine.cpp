#include "apps/machine.h"

#include <fmt/format.h>
#include <sched.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <limits>
#include <sstream>
#include <string_view>

namespace muonlab {
namespace {

constexpr std::array<std::string_view, 12> kInstructionSets{
    "sse4_2",      "avx",         "avx2",     "fma",      "avx512f", "avx512bw",
    "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "asimd",   "sve"};

/// The lowest limit on the way from this process's control group to the root, or infinity. The
/// lines of /proc/self/cgroup are "0::/path" (version 2) and "4:memory:/path" (version 1).
double control_group_limit() {
  double lowest = std::numeric_limits<double>::infinity();
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const std::size_t name = line.find(':') + 1, path = line.find(':', name) + 1;
    if (name == 0 || path == 0) continue;
    const std::string controllers = line.substr(name, path - 1 - name);
    if (!controllers.empty() && controllers != "memory") continue;
    const std::string root = controllers.empty() ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
    const char* file = controllers.empty() ? "memory.max" : "memory.limit_in_bytes";
    for (std::string group = line.substr(path);; group.erase(group.rfind('/'))) {
      double limit = 0;  // where there is none, the file says "max", or is missing
      if (std::ifstream(fmt::format("{}{}/{}", root, group, file)) >> limit)
        lowest = std::min(lowest, limit);
      if (group.empty() || group.find('/') == std::string::npos) break;
    }
  }
  return lowest;
}

}  // namespace

MemoryLimit memory_limit() {
  MemoryLimit limit{
      static_cast<double>(::sysconf(_SC_PHYS_PAGES)) * static_cast<double>(::sysconf(_SC_PAGESIZE)),
      "this machine has"};
  const double group = control_group_limit();
  if (group < limit.bytes) limit = {group, "the control group of this process allows"};
  rlimit space{};
  if (::getrlimit(RLIMIT_AS, &space) == 0 && space.rlim_cur != RLIM_INFINITY &&
      static_cast<double>(space.rlim_cur) < limit.bytes)
    limit = {static_cast<double>(space.rlim_cur), "ulimit -v allows"};
  return limit;
}

Machine describe_machine() {
  Machine machine;
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const std::size_t colon = line.find(':');
    if (colon == std::string::npos || colon + 2 > line.size()) continue;
    const std::string value = line.substr(colon + 2);
    if (line.rfind("model name", 0) == 0 && machine.cpu.empty()) machine.cpu = value;
    const bool flags = line.rfind("flags", 0) == 0 || line.rfind("Features", 0) == 0;
    if (!flags || !machine.instruction_sets.empty()) continue;
    const std::string padded = ' ' + value + ' ';
    for (const std::string_view name : kInstructionSets)
      if (padded.find(fmt::format(" {} ", name)) != std::string::npos)
        machine.instruction_sets.emplace_back(name);
  }
  cpu_set_t set;
  machine.cores = ::sched_getaffinity(0, sizeof set, &set) == 0
                      ? CPU_COUNT(&set)
                      : static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN));
  return machine;
}

std::string compiler_name() {
#ifdef __clang__
  return fmt::format("clang {}.{}.{}", __clang_major__, __clang_minor__, __clang_patchlevel__);
#else
  return fmt::format("g++ {}.{}.{}", __GNUC__, __GNUC_MINOR__, __GNUC_PATCHLEVEL__);
#endif
}

double process_age() {
  // Field 22 of the line is the start in clock ticks since boot; field 2, in parentheses, may hold
  // blanks (man 5 proc).
  std::ifstream file("/proc/self/stat");
  std::string line;
  std::getline(file, line);
  std::istringstream fields(line.substr(line.rfind(')') + 1));
  std::string field;
  for (int i = 3; i <= 22; ++i) fields >> field;
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  const double start = std::stod(field) / static_cast<double>(::sysconf(_SC_CLK_TCK));
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec) - start;
}

std::int64_t peak_rss_mib() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss / 1024;
}

}  // namespace muonlab

#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace muonlab {

/// The processor as the operating system describes it.
struct Machine {
  std::string cpu;  ///< model name
  int cores = 1;    ///< logical cores that this process may use
  std::vector<std::string>
      instruction_sets;  ///< those that matter for products: "avx2", "amx_bf16"
};
Machine describe_machine();

/// How much memory this process may have, in bytes, and who says so ("this machine has").
struct MemoryLimit {
  double bytes = 0;
  std::string whose;
};
/// The least of the machine's memory, the limits of the process's control groups, and `ulimit -v`.
MemoryLimit memory_limit();

/// Compiler and version that built the program.
std::string compiler_name();

/// Seconds since the operating system started this process, at most one clock tick (10 ms) too
/// many.
double process_age();
/// Largest resident memory of this process so far, in MiB.
std::int64_t peak_rss_mib();

}  // namespace muonlab

#pragma once

#include <cuda_runtime.h>

#include <vector>

#include "tests/cuda_emu/control.h"

namespace selftest {

/// What a case works on: 128 and 64 zeros in device memory, and a stream.
struct Buffers {
  float *out = nullptr, *in = nullptr;
  cudaStream_t stream = nullptr;
};

struct PlantedBug {
  const char* name;  ///< the faulty line in planted.cu ends with "// bug: " and this
  simt::Fault fault;
  void (*run)(const Buffers&);
};
std::vector<PlantedBug> planted_bugs();

/// Must give no report. `expected` of the first `count` floats of out, where that is not 0.
struct CleanKernel {
  const char* name;
  void (*run)(const Buffers&);
  int count;
  float (*expected)(int i);
};
std::vector<CleanKernel> clean_kernels();

}  // namespace selftest

#pragma once

#include <cuda_runtime.h>

#include <cstddef>

// Kernels that make nvcc emit what small tests of single instructions do not: calls, tables, local
// arrays, slow paths of mathematical functions. Each runs as C++ and as PTX.
namespace selftest::kern {

inline constexpr int kIntegerResults = 22, kFloatFunctions = 17, kDoubleFunctions = 8;

/// kIntegerResults results for each of n pairs a, b; b is not 0.
__global__ void integer_arithmetic(long long* out, const int* a, const int* b, int n);
/// kFloatFunctions functions of each of n numbers; `float_function` of ptx_kernels_test.cpp.
__global__ void float_functions(float* out, const float* x, int n);
__global__ void double_functions(double* out, const double* x, int n);
/// bf16 of sums of neighbours, in one register for two of them, and back.
__global__ void bf16_pairs(float* out, const float* x, int n);

/// A state machine of several functions, loops and jumps.
__global__ void collatz_and_friends(int* out, int n);
/// Sorts each thread's 12 numbers in a local array.
__global__ void sort_locally(int* out, int seed);

inline constexpr int kTensors = 5;
struct Tensors {
  float* data[kTensors];
  int size[kTensors];
  float scale;
  double offset;
  unsigned char first;
};
/// One block for each tensor: data = data * scale + offset + first.
__global__ void over_tensors(Tensors tensors);

/// Prefix sums of 128 numbers: shuffles, static and dynamic shared memory.
__global__ void prefix_sums(int* out, const int* x);

/// Through shared memory by cp.async, in two groups. `wait`: before it is read.
__global__ void copied_asynchronously(float4* out, const float4* x, bool wait);

__global__ void __launch_bounds__(64) bounded(int* out);

}  // namespace selftest::kern

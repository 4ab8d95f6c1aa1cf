#pragma once

#include <cuda_runtime.h>

#include <cstddef>

// Small kernels for the tests of scheduler, streams, memory and profile.
namespace selftest::kern {

/// order[i] = how many threads of the grid came before thread i.
__global__ void take_tickets(int* counter, int* order);
/// The same, for the order in which threads go on after a barrier.
__global__ void take_tickets_after_sync(int* counter, int* order);
/// out[i] = (block index) * 1000000 + (thread index), each (z * 10 + y) * 10 + x, of the i-th
/// thread of the grid, x running fastest.
__global__ void write_indices(int* out);
/// out[i] = __syncthreads_or, _and and _count of (i < limit), as 10000, 1000 and 1.
__global__ void barrier_predicates(int* out, int limit);

enum class Shuffle : int { index, up, down, exclusive_or };
/// out[lane] = what lane gets if every lane offers its number.
__global__ void shuffle(int* out, Shuffle kind, int argument, int width);
/// The same with values of 8 bytes.
__global__ void shuffle_doubles(double* out, int argument);
/// Votes on (i % 3 == 0) and reductions of lane numbers, in the lanes of `mask`.
__global__ void votes(unsigned* out, unsigned mask);

/// x[i] = value; x[i] = x[i] + value.
__global__ void fill(float* x, float value);
__global__ void add(float* x, float value);

/// Every atomic once, on counters of 0.
__global__ void atomics(int* counters, unsigned long long* wide);

/// Loads with a distance between lanes, of the type's size or more.
__global__ void strided_loads(float* out, const float* in, int stride);
__global__ void vector_loads(float4* out, const float4* in);
/// Loads of 12 bytes that are aligned to 4.
__global__ void triple_loads(float3* out, const float3* in);
/// out[0] and out[1] = what is in static and dynamic shared memory at the start of a block.
__global__ void read_junk(float* out);
/// Nobody gets out of it.
__global__ void get_stuck(float* out);
/// Shared loads whose lanes are `stride` words apart.
__global__ void shared_loads(float* out, int stride);

/// Host code, instrumented like the kernels.
float host_reads(const float* x);

}  // namespace selftest::kern

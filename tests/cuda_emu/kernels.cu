#include "tests/cuda_emu/kernels.h"
#include "tests/cuda_emu/selftest.cuh"

namespace selftest::kern {

__device__ inline unsigned linear(uint3 i, dim3 size) {
  return (i.z * size.y + i.y) * size.x + i.x;
}
__device__ inline unsigned thread_of_grid() {
  const unsigned per_block = blockDim.x * blockDim.y * blockDim.z;
  return linear(blockIdx, gridDim) * per_block + linear(threadIdx, blockDim);
}

__global__ void take_tickets(int* counter, int* order) {
  order[thread_of_grid()] = atomicAdd(counter, 1);
}

__global__ void take_tickets_after_sync(int* counter, int* order) {
  __syncthreads();
  order[thread_of_grid()] = atomicAdd(counter, 1);
}

__global__ void write_indices(int* out) {
  const auto digits = [](uint3 i) { return int((i.z * 10 + i.y) * 10 + i.x); };
  out[thread_of_grid()] = digits(blockIdx) * 1000000 + digits(threadIdx);
}

__global__ void barrier_predicates(int* out, int limit) {
  const int i = int(threadIdx.x), p = i < limit;
  const int any = __syncthreads_or(p);
  const int all = __syncthreads_and(p);
  const int count = __syncthreads_count(p);
  out[i] = any * 10000 + all * 1000 + count;
}

__global__ void shuffle(int* out, Shuffle kind, int argument, int width) {
  const int lane = int(threadIdx.x);
  int result = lane;
  if (kind == Shuffle::index) result = __shfl_sync(kFullWarp, lane, argument, width);
  if (kind == Shuffle::up) result = __shfl_up_sync(kFullWarp, lane, unsigned(argument), width);
  if (kind == Shuffle::down) result = __shfl_down_sync(kFullWarp, lane, unsigned(argument), width);
  if (kind == Shuffle::exclusive_or) result = __shfl_xor_sync(kFullWarp, lane, argument, width);
  out[lane] = result;
}

__global__ void shuffle_doubles(double* out, int argument) {
  out[threadIdx.x] = __shfl_xor_sync(kFullWarp, 1.0 / (1 + threadIdx.x), argument);
}

__global__ void votes(unsigned* out, unsigned mask) {
  const unsigned lane = threadIdx.x;
  if ((mask >> lane & 1u) == 0) return;
  const int p = lane % 3 == 0;
  unsigned* mine = out + lane * 9;
  mine[0] = __ballot_sync(mask, p);
  mine[1] = unsigned(__any_sync(mask, p));
  mine[2] = unsigned(__all_sync(mask, p));
  mine[3] = __reduce_add_sync(mask, lane);
  mine[4] = __reduce_min_sync(mask, lane);
  mine[5] = __reduce_max_sync(mask, lane);
  mine[6] = __reduce_or_sync(mask, lane);
  mine[7] = __reduce_and_sync(mask, lane);
  mine[8] = unsigned(__reduce_min_sync(mask, -int(lane)));
}

__global__ void fill(float* x, float value) { x[blockIdx.x * blockDim.x + threadIdx.x] = value; }
__global__ void add(float* x, float value) { x[blockIdx.x * blockDim.x + threadIdx.x] += value; }

__global__ void atomics(int* counters, unsigned long long* wide) {
  const int i = int(threadIdx.x);
  atomicAdd(&counters[0], i);
  atomicMin(&counters[1], i - 5);
  atomicMax(&counters[2], i);
  atomicOr(&counters[3], 1 << (i % 8));
  atomicXor(&counters[4], i);
  atomicExch(&counters[5], 7);
  atomicCAS(&counters[6], i, i + 1);  // in ascending order it counts
  atomicAnd(&counters[7], ~(1 << (i % 4)));
  atomicAdd(wide, 1ull << 33);
}

__global__ void strided_loads(float* out, const float* in, int stride) {
  const int i = int(threadIdx.x);
  out[i] = in[i * stride];  // the strided load
}

__global__ void vector_loads(float4* out, const float4* in) {
  out[threadIdx.x] = in[threadIdx.x];  // the vector load
}

__global__ void triple_loads(float3* out, const float3* in) {
  const float3 v = in[threadIdx.x];  // the triple load
  out[threadIdx.x] = v;
}

__global__ void read_junk(float* out) {
  SELFTEST_SHARED(float, t, [2]);
  t[blockIdx.x + 1] = 1;  // a compiler that sees no write leaves the variable out
  out[0] = t[gridDim.x - 1];
  out[1] = *dynamic_smem<float>();
}

__global__ void get_stuck(float* out) {
  if (threadIdx.x < 16)
    out[threadIdx.x] = __shfl_xor_sync(kFullWarp, 1.0f, 1);
  else
    __syncthreads();
}

__global__ void shared_loads(float* out, int stride) {
  SELFTEST_SHARED(float, t, [32 * 32]);
  const int i = int(threadIdx.x);
  for (int k = 0; k < 32; ++k) t[k * 32 + i] = 1;
  __syncthreads();
  out[i] = t[i * stride % 1024];  // the shared load
}

float host_reads(const float* x) { return *x; }

}  // namespace selftest::kern

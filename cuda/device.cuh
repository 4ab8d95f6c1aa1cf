#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <utility>

#include "cuda/runtime.h"

// What all kernels share. Everything here compiles with nvcc, and with g++ against the test
// emulator, whose headers stand in for the toolkit's; this is the only file that tells the two
// apart. Rules for kernels: docs/cuda.md.
namespace muonlab::cuda {

#if defined(__CUDACC__)
/// MUONLAB_SHARED(float, tile, [16][17]) instead of __shared__ float tile[16][17].
#define MUONLAB_SHARED(type, name, dims) __shared__ type name dims
#else
#define MUONLAB_SHARED(type, name, dims) SIMT_SHARED(type, name, dims)
#endif

/// The shared memory whose size the launch gives.
template <class T>
__device__ __forceinline__ T* dyn_smem() {
#if defined(__CUDACC__)
  extern __shared__ __align__(16) unsigned char muonlab_dyn_smem[];
  return reinterpret_cast<T*>(muonlab_dyn_smem);
#else
  return reinterpret_cast<T*>(simt::dynamic_smem());
#endif
}

/// The blocks of a launch and the place in the program that asks for them.
struct Grid {
  Grid(std::int64_t x, const char* f = __builtin_FILE(), int l = __builtin_LINE())
      : Grid(x, 1, 1, f, l) {}
  Grid(std::int64_t x, std::int64_t y, std::int64_t z, const char* f = __builtin_FILE(),
       int l = __builtin_LINE())
      : blocks(static_cast<unsigned>(x), static_cast<unsigned>(y), static_cast<unsigned>(z)),
        empty(x == 0 || y == 0 || z == 0),
        file(f),
        line(l) {}
  dim3 blocks;
  bool empty;
  const char* file;
  int line;
};

/// Bytes of shared memory that every kernel may use unasked.
constexpr std::size_t kFreeSharedMemory = std::size_t{48} << 10;

/// Runs a kernel; an empty grid is no work. Throws: DeviceError.
template <class... P, class... A>
void launch(void (*kernel)(P...), const Grid& grid, dim3 block, std::size_t smem_bytes,
            cudaStream_t stream, A&&... args) {
  static_assert(sizeof...(P) == sizeof...(A));
  if (grid.empty) return;
  if (smem_bytes > kFreeSharedMemory)
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(smem_bytes)),
          "asking for shared memory", grid.file, grid.line);
#if defined(__CUDACC__)
  kernel<<<grid.blocks, block, smem_bytes, stream>>>(static_cast<P>(std::forward<A>(args))...);
#else
  simt::start(kernel, grid.blocks, block, smem_bytes, stream, std::forward<A>(args)...);
#endif
  check(cudaGetLastError(), "the launch of a kernel", grid.file, grid.line);
}

constexpr std::int64_t divide_up(std::int64_t n, std::int64_t by) { return (n + by - 1) / by; }

/// Number of this thread within a grid of one dimension.
__device__ __forceinline__ std::int64_t global_index() {
  return static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}

/// N neighbours that are read and written as one.
template <class T, int N>
struct alignas(sizeof(T) * N) Vec {
  T v[N];
};
template <int N>
__device__ __forceinline__ Vec<float, N> load_vec(const float* p) {
  return *reinterpret_cast<const Vec<float, N>*>(p);
}
template <int N>
__device__ __forceinline__ void store_vec(float* p, const Vec<float, N>& v) {
  *reinterpret_cast<Vec<float, N>*>(p) = v;
}

struct Add {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};
struct Max {
  __device__ float operator()(float a, float b) const { return fmaxf(a, b); }
};

constexpr unsigned kAllLanes = 0xffffffffU;
constexpr int kWarp = 32;

/// Combines the values of `width` neighbouring lanes, in a fixed order; each of them gets the
/// result. All lanes of the warp must call it.
template <int width = kWarp, class T, class Op>
__device__ __forceinline__ T warp_reduce(T value, Op op) {
#pragma unroll
  for (int distance = width / 2; distance > 0; distance /= 2)
    value = op(value, __shfl_xor_sync(kAllLanes, value, distance));
  return value;
}

/// Combines the values of a block of Threads threads, in a fixed order; every thread gets the
/// result. All threads of the block must call it.
template <int Threads, class T, class Op>
__device__ __forceinline__ T block_reduce(T value, Op op) {
  constexpr int kWarps = Threads / kWarp;
  static_assert(Threads % kWarp == 0 && kWarps > 1 && kWarps <= kWarp);
  MUONLAB_SHARED(T, part, [kWarps]);
  value = warp_reduce(value, op);
  if (threadIdx.x % kWarp == 0) part[threadIdx.x / kWarp] = value;
  __syncthreads();
  T all = part[0];
#pragma unroll
  for (int w = 1; w < kWarps; ++w) all = op(all, part[w]);
  __syncthreads();  // the next reduction may write part
  return all;
}

/// *p = max(*p, value), by integer atomics, so that the order of threads does not matter: floats of
/// one sign are ordered as integers, those below zero in reverse.
__device__ __forceinline__ void atomic_max(float* p, float value) {
  if (__float_as_int(value) >= 0)
    atomicMax(reinterpret_cast<int*>(p), __float_as_int(value));
  else
    atomicMin(reinterpret_cast<unsigned*>(p), __float_as_uint(value));
}

}  // namespace muonlab::cuda

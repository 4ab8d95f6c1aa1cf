#pragma once

// What the kernels of the self-tests use, under g++ and under nvcc: the least that tells the two
// apart. The project's own kernels have cuda/device.cuh for this.

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstddef>

#if defined(__CUDACC__)
#define SELFTEST_SHARED(T, name, dims) __shared__ T name dims
#else
#define SELFTEST_SHARED(T, name, dims) SIMT_SHARED(T, name, dims)
#endif

namespace selftest {

inline constexpr unsigned kFullWarp = 0xffffffffu;

template <class T>
__device__ __forceinline__ T* dynamic_smem() {
#if defined(__CUDACC__)
  extern __shared__ __align__(16) unsigned char selftest_smem[];
  return reinterpret_cast<T*>(selftest_smem);
#else
  return reinterpret_cast<T*>(simt::dynamic_smem());
#endif
}

/// Launches without looking at the error.
template <class... P, class... A>
void launch(void (*kernel)(P...), dim3 grid, dim3 block, std::size_t smem, cudaStream_t stream,
            A... arguments) {
#if defined(__CUDACC__)
  kernel<<<grid, block, smem, stream>>>(static_cast<P>(arguments)...);
#else
  simt::start(kernel, grid, block, smem, stream, arguments...);
#endif
}

template <class T>
T* device_memory(std::size_t count) {
  void* address = nullptr;
  cudaMalloc(&address, count * sizeof(T));
  return static_cast<T*>(address);
}

}  // namespace selftest

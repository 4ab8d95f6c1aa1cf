#include "cuda/cuda_backend.h"

#include <exception>

#include "core/error.h"
#include "cuda/cublas.h"

namespace muonlab::cuda {

CudaBackend::CudaBackend() = default;

CudaBackend::~CudaBackend() { allocator().trim(); }

void* CudaBackend::raw_alloc(std::size_t bytes) { return allocate_device(bytes); }

void CudaBackend::raw_free(void* block, std::size_t) noexcept {
  // An error of an earlier kernel may come back here; the next call that is checked finds it too.
  static_cast<void>(cudaFree(block));
}

void CudaBackend::copy(void* dst, const void* src, std::size_t bytes) {
  if (dst == src || bytes == 0) return;
  MUONLAB_CUDA(cudaMemcpyAsync(dst, src, bytes, cudaMemcpyDeviceToDevice, stream_.get()));
}

void CudaBackend::copy_from_host(void* dst, const void* src, std::size_t bytes) {
  uploads_.copy(dst, src, bytes);
}

void CudaBackend::copy_to_host(void* dst, const void* src, std::size_t bytes) {
  if (bytes == 0) return;
  MUONLAB_CUDA(cudaMemcpyAsync(dst, src, bytes, cudaMemcpyDeviceToHost, stream_.get()));
  stream_.synchronize();
}

// Kernels are only queued by the host, so it goes through them alone.
void CudaBackend::for_each(std::int64_t n, const std::function<void(std::int64_t)>& f) {
  std::exception_ptr first;
  for (std::int64_t i = 0; i < n; ++i) {
    try {
      f(i);
    } catch (...) {
      if (!first) first = std::current_exception();
    }
  }
  if (first) std::rethrow_exception(first);
}

float* f32(Tensor t) {
  if (!t.defined()) return nullptr;
  if (t.dtype() == DType::f64)
    throw Unsupported(
        "the CUDA backend computes in f32 only; got a tensor of f64, which the CPU backend takes");
  return t.data<float>();
}

}  // namespace muonlab::cuda

#include "cuda/cuda_backend.h"
#include "cuda/device.cuh"

namespace muonlab::cuda {
namespace kern {

template <class T>
__global__ void __launch_bounds__(256) fill(T* x, T value, std::int64_t n) {
  const std::int64_t i = global_index();
  if (i < n) x[i] = value;
}

}  // namespace kern

void CudaBackend::fill(Tensor& dst, double value) {
  const std::int64_t n = dst.numel(), blocks = divide_up(n, 256);
  if (dst.dtype() == DType::i32)
    launch(kern::fill<std::int32_t>, blocks, 256, 0, stream_.get(), dst.data<std::int32_t>(),
           static_cast<std::int32_t>(value), n);
  else
    with_type(dst, [&]<class T>(T) {
      launch(kern::fill<T>, blocks, 256, 0, stream_.get(), elements<T>(dst),
             static_cast<T>(static_cast<float>(value)), n);
    });
}

}  // namespace muonlab::cuda

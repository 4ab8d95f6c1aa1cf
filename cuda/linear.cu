// y = act(x) wT + bias: the product is cuBLAS's, the rest is here.
#include "cuda/cuda_backend.h"
#include "cuda/device.cuh"

namespace muonlab::cuda {
namespace kern {

/// y (rows, columns) += bias (columns), one thread an element.
template <class T>
__global__ void __launch_bounds__(256) add_bias(const float* __restrict__ bias, T* __restrict__ y,
                                                std::int64_t n, std::int64_t columns) {
  const std::int64_t i = global_index();
  if (i < n) y[i] = static_cast<T>(static_cast<float>(y[i]) + bias[i % columns]);
}

}  // namespace kern

void CudaBackend::linear(const LinearArgs& l) {
  const bool activated = l.activation != Activation::none;
  if (activated) activation({.kind = l.activation, .x = l.x, .y = l.hidden});
  gemm({.a = activated ? l.hidden : l.x, .b = l.w, .c = l.y, .trans_b = true});
  if (!l.bias.defined()) return;
  const std::int64_t n = l.y.numel();
  with_type(l.y, [&]<class T>(T) {
    launch(kern::add_bias<T>, divide_up(n, 256), 256, 0, stream_.get(), f32(l.bias),
           elements<T>(l.y), n, l.y.shape()[-1]);
  });
}

}  // namespace muonlab::cuda

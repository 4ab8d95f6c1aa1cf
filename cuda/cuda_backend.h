#pragma once

#include <cuda_bf16.h>

#include <memory>
#include <type_traits>
#include <utility>

#include "core/backend.h"
#include "cuda/runtime.h"

namespace muonlab {

template <>
struct DTypeOf<__nv_bfloat16> {
  static constexpr DType value = DType::bf16;
};

}  // namespace muonlab

namespace muonlab::cuda {

class CublasHandle;

/// The CUDA backend: products by cuBLAS, everything else own kernels, which compute in f32;
/// activations may lie in memory as bf16. Each kernel is defined in the file of its name. All
/// kernels go to one stream, in the order of the calls, and the host does not wait for them; what
/// the host reads, it waits for.
class CudaBackend final : public Backend {
 public:
  /// On the first GPU that CUDA shows. Throws: DeviceError saying why there is none.
  CudaBackend();
  ~CudaBackend() override;

  bool is_host() const override { return false; }
  void* raw_alloc(std::size_t bytes) override;
  void raw_free(void* block, std::size_t bytes) noexcept override;
  void copy(void* dst, const void* src, std::size_t bytes) override;
  void copy_from_host(void* dst, const void* src, std::size_t bytes) override;
  void copy_to_host(void* dst, const void* src, std::size_t bytes) override;
  void fill(Tensor& dst, double value) override;
  void for_each(std::int64_t n, const std::function<void(std::int64_t)>& f) override;

  void set_precision(Precision precision) override { precision_ = precision; }
  DType activation_type(DType t) const override {
    return precision_ == Precision::bf16 ? DType::bf16 : t;
  }
  void gemm(const GemmArgs&) override;
  void linear(const LinearArgs&) override;
  void activation(const ActivationArgs&) override;
  void activation_backward(const ActivationBackwardArgs&) override;
  void column_sum(const ColumnSumArgs&) override;
  void norm(const NormArgs&) override;
  void norm_backward(const NormBackwardArgs&) override;
  void embedding(const EmbeddingArgs&) override;
  void embedding_backward(const EmbeddingBackwardArgs&) override;
  void attention(const AttentionArgs&) override;
  void attention_backward(const AttentionBackwardArgs&) override;
  void cross_entropy(const CrossEntropyArgs&) override;
  void cross_entropy_backward(const CrossEntropyBackwardArgs&) override;
  void dropout(const DropoutArgs&) override;
  void elementwise(const ElementwiseArgs&) override;
  void sum_squares(std::span<const Tensor> x, std::span<double> sums) override;
  double sum(const Tensor& x) override;

 private:
  template <class Term>
  void reduce(std::span<const Tensor> x, std::span<double> sums);
  /// `from` is f32; `to` has room for as many bf16.
  void round_to_bf16(const Tensor& from, void* to);

  Stream stream_;
  Uploads uploads_{stream_};
  Precision precision_ = Precision::f32;
  std::unique_ptr<CublasHandle> cublas_;  // made for the first product
};

/// The elements of an f32 tensor, null for an empty handle. Throws: Unsupported if they are f64,
/// DtypeError if they are of another type.
float* f32(Tensor t);

/// Calls f with a zero of the type in which kernels find the elements of activations.
template <class F>
void with_type(const Tensor& t, const F& f) {
  if (t.dtype() == DType::bf16)
    f(__nv_bfloat16{});
  else
    f(float{});
}

/// The elements of activations, null for an empty handle; T is that of with_type. Throws: as f32.
template <class T>
T* elements(Tensor t) {
  if constexpr (std::is_same_v<T, float>)
    return f32(std::move(t));
  else
    return t.defined() ? t.data<T>() : nullptr;
}

}  // namespace muonlab::cuda

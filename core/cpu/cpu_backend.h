#pragma once

#include "core/backend.h"

namespace muonlab::cpu {

/// The CPU backend: products by Eigen or oneDNN, everything else own kernels, for f32 and f64.
/// Each kernel is defined in the file of its name.
class CpuBackend final : public Backend {
 public:
  ~CpuBackend() override;

  bool is_host() const override { return true; }
  void* raw_alloc(std::size_t bytes) override;
  void raw_free(void* block, std::size_t bytes) noexcept override;
  void copy(void* dst, const void* src, std::size_t bytes) override;
  void copy_from_host(void* dst, const void* src, std::size_t bytes) override;
  void copy_to_host(void* dst, const void* src, std::size_t bytes) override;
  void fill(Tensor& dst, double value) override;
  void for_each(std::int64_t n, const std::function<void(std::int64_t)>& f) override;

  void set_precision(Precision precision) override;
  DType activation_type(DType t) const override { return t; }
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
};

/// Calls f with a zero of the tensor's floating element type: f(float{}) or f(double{}).
/// Throws: DtypeError for other types.
template <class F>
void with_type(const Tensor& t, const F& f) {
  switch (t.dtype()) {
    case DType::f32:
      f(float{});
      break;
    case DType::f64:
      f(double{});
      break;
    default:
      t.data<float>();  // throws, naming the types
  }
}

}  // namespace muonlab::cpu

// Products by cuBLAS, whose matrices are column-major: a row-major matrix is its transpose there,
// so C = op(A) op(B) is computed as CT = op(B)T op(A)T.
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <optional>

#include "core/error.h"
#include "cuda/cublas.h"
#include "cuda/cuda_backend.h"

namespace muonlab::cuda {
namespace {

int narrow(std::int64_t size) {
  if (size > std::numeric_limits<int>::max())
    throw Unsupported(fmt::format(
        "[gemm] cuBLAS takes sizes below 2^31; got a matrix with {} rows or columns", size));
  return static_cast<int>(size);
}

}  // namespace

void CudaBackend::gemm(const GemmArgs& g) {
  const bool batched = g.c.shape().rank() == 3;
  const std::int64_t batch = batched ? g.c.shape()[0] : 1;
  const std::int64_t m = g.c.shape()[-2], n = g.c.shape()[-1];
  const std::int64_t k = g.trans_a ? g.a.shape()[-2] : g.a.shape()[-1];
  if (g.c.numel() == 0) return;
  // cuBLAS takes no matrix without columns. An inner size of zero leaves beta C.
  const std::int64_t lda = std::max<std::int64_t>(1, g.a.shape()[-1]);
  const std::int64_t ldb = std::max<std::int64_t>(1, g.b.shape()[-1]);
  const auto alpha = static_cast<float>(g.alpha), beta = static_cast<float>(g.beta);
  const auto is_bf16 = [](const Tensor& t) { return t.dtype() == DType::bf16; };
  const bool in_bf16 =
      precision_ == Precision::bf16 || is_bf16(g.a) || is_bf16(g.b) || is_bf16(g.c);
  const cudaDataType factors = in_bf16 ? CUDA_R_16BF : CUDA_R_32F;
  const cublasComputeType_t compute =
      precision_ == Precision::tf32 && !in_bf16 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
  // Rounded anew for every product: no copy can be out of date, and next to the product it is
  // little work (docs/cuda.md).
  std::optional<Scratch> rounded_a, rounded_b;
  const auto factor = [&](const Tensor& t, std::optional<Scratch>& rounded) -> const void* {
    if (is_bf16(t)) return t.raw();
    if (!in_bf16) return f32(t);
    rounded.emplace(allocator(), static_cast<std::size_t>(t.numel()) * 2);
    round_to_bf16(t, rounded->as<void>());
    return rounded->as<void>();
  };
  const void *a = factor(g.a, rounded_a), *b = factor(g.b, rounded_b);
  Tensor c = g.c;
  const bool to_bf16 = is_bf16(c);
  if (!cublas_) cublas_ = std::make_unique<CublasHandle>(stream_);
  MUONLAB_CUBLAS(cublas().gemm(
      cublas_->get(), g.trans_b ? CUBLAS_OP_T : CUBLAS_OP_N, g.trans_a ? CUBLAS_OP_T : CUBLAS_OP_N,
      narrow(n), narrow(m), narrow(k), &alpha, b, factors, narrow(ldb), k * n, a, factors,
      narrow(lda), m * k, &beta, to_bf16 ? c.raw() : f32(c), to_bf16 ? CUDA_R_16BF : CUDA_R_32F,
      narrow(n), m * n, narrow(batch), compute, CUBLAS_GEMM_DEFAULT));
}

}  // namespace muonlab::cuda

// The products of cuBLAS, by Eigen in f32. Checked: leading dimensions, bounds, initialised
// operands.

#include <Eigen/Core>
#include <algorithm>
#include <cmath>

#include "tests/cuda_emu/emulator.h"
#include "tests/cuda_emu/include/cublas_v2.h"
#include "tests/cuda_emu/include/cuda_bf16.h"

struct cublasContext {
  cudaStream_t stream = nullptr;
  cublasMath_t math = CUBLAS_DEFAULT_MATH;
};

namespace {

using simt::Place;
using ColumnMajor = Eigen::MatrixXf;

/// One operand: `batch` column-major matrices of a type.
struct Operand {
  const void* data;
  cudaDataType type;
  int rows, cols, ld;
  long long stride;  ///< in elements

  std::size_t element_bytes() const { return type == CUDA_R_32F ? 4 : 2; }
  const char* column(int batch, int col) const {
    const long long element = batch * stride + static_cast<long long>(col) * ld;
    return static_cast<const char*>(data) + element * static_cast<long long>(element_bytes());
  }
  std::size_t column_bytes() const { return static_cast<std::size_t>(rows) * element_bytes(); }
  bool check(int batch, bool read, const char* name, const Place& caller) const {
    for (int c = 0; c < cols; ++c)
      if (!simt::check_range(column(batch, c), column_bytes(), read, name, caller)) return false;
    return true;
  }
  ColumnMajor load(int batch) const {
    ColumnMajor m(rows, cols);
    for (int c = 0; c < cols; ++c)
      for (int r = 0; r < rows; ++r)
        m(r, c) = type == CUDA_R_32F
                      ? reinterpret_cast<const float*>(column(batch, c))[r]
                      : float(reinterpret_cast<const __nv_bfloat16*>(column(batch, c))[r]);
    return m;
  }
  void store(int batch, const ColumnMajor& m) const {
    for (int c = 0; c < cols; ++c) {
      char* to = const_cast<char*>(column(batch, c));
      for (int r = 0; r < rows; ++r) {
        if (type == CUDA_R_32F)
          reinterpret_cast<float*>(to)[r] = m(r, c);
        else
          reinterpret_cast<__nv_bfloat16*>(to)[r] = m(r, c);
      }
      simt::mark_initialised(to, column_bytes());
    }
  }
};

// To 10 bits of mantissa, to nearest, ties away from zero, as cvt.rna.tf32 of PTX.
float rounded_to_tf32(float x) {
  if (!std::isfinite(x)) return x;
  return __uint_as_float((__float_as_uint(x) + 0x1000u) & ~0x1fffu);
}

float rounded_to_bf16(float x) { return __nv_bfloat16(x); }

struct Product {
  Operand a, b, c;
  bool transpose_a, transpose_b, tf32, reduced_reduction;
  float alpha, beta;
  int batch;

  ColumnMajor operand(const Operand& x, int i) const {
    ColumnMajor m = x.load(i);
    if (tf32 && x.type == CUDA_R_32F) m = m.unaryExpr(&rounded_to_tf32);
    return m;
  }
  void run(int i) const {
    ColumnMajor x = operand(a, i), y = operand(b, i);
    if (transpose_a) x = x.transpose().eval();
    if (transpose_b) y = y.transpose().eval();
    ColumnMajor result;
    if (reduced_reduction && c.type == CUDA_R_16BF) {
      const Eigen::Index half = x.cols() / 2, rest = x.cols() - half;
      result = alpha * x.leftCols(half) * y.topRows(half);
      result = result.unaryExpr(&rounded_to_bf16);
      result += alpha * x.rightCols(rest) * y.bottomRows(rest);
    } else {
      result = alpha * x * y;
    }
    if (beta != 0) result += beta * c.load(i);  // not read otherwise, as BLAS has it
    c.store(i, result);
  }
  void run_all(const Place& caller) const {
    const simt::DeviceAccess open;
    for (int i = 0; i < batch; ++i) {
      const bool ok = a.check(i, true, "operand A of a product", caller) &&
                      b.check(i, true, "operand B of a product", caller) &&
                      c.check(i, beta != 0, "the result C of a product", caller);
      if (!ok) return simt::set_error(cudaErrorIllegalAddress, true);
      run(i);
    }
  }
};

bool is_supported(cudaDataType type) { return type == CUDA_R_32F || type == CUDA_R_16BF; }

cublasStatus_t enqueue_product(cublasHandle_t handle, const Product& p, const Place& caller) {
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  const int m = p.c.rows, n = p.c.cols, k = p.transpose_a ? p.a.rows : p.a.cols;
  if (m < 0 || n < 0 || k < 0 || p.batch < 0 || p.a.ld < std::max(1, p.a.rows) ||
      p.b.ld < std::max(1, p.b.rows) || p.c.ld < std::max(1, m))
    return CUBLAS_STATUS_INVALID_VALUE;
  if (p.a.type != p.b.type || !is_supported(p.a.type) || !is_supported(p.c.type) ||
      (p.a.type == CUDA_R_32F && p.c.type != CUDA_R_32F))
    return CUBLAS_STATUS_NOT_SUPPORTED;
  if (m > 0 && n > 0) simt::enqueue(handle->stream, [=] { p.run_all(caller); });
  return CUBLAS_STATUS_SUCCESS;
}

Product make_product(cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb,
                     int m, int n, int k, const void* alpha, const void* a, cudaDataType type_a,
                     int lda, long long stride_a, const void* b, cudaDataType type_b, int ldb,
                     long long stride_b, const void* beta, void* c, cudaDataType type_c, int ldc,
                     long long stride_c, int batch, cublasComputeType_t compute) {
  const bool ta = transa == CUBLAS_OP_T, tb = transb == CUBLAS_OP_T;
  const bool tf32 = compute == CUBLAS_COMPUTE_32F_FAST_TF32 ||
                    (handle != nullptr && handle->math == CUBLAS_TF32_TENSOR_OP_MATH);
  return {{a, type_a, ta ? k : m, ta ? m : k, lda, stride_a},
          {b, type_b, tb ? n : k, tb ? k : n, ldb, stride_b},
          {c, type_c, m, n, ldc, stride_c},
          ta,
          tb,
          tf32,
          handle != nullptr && handle->math != CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION,
          *static_cast<const float*>(alpha),
          *static_cast<const float*>(beta),
          batch};
}

}  // namespace

cublasStatus_t cublasCreate(cublasHandle_t* handle) {
  *handle = new cublasContext;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasDestroy(cublasHandle_t handle) {
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasGetVersion(cublasHandle_t, int* version) {
  *version = 130000;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetStream(cublasHandle_t handle, cudaStream_t stream) {
  handle->stream = stream;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode) {
  handle->math = mode;
  return CUBLAS_STATUS_SUCCESS;
}
const char* cublasGetStatusName(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_NOT_INITIALIZED:
      return "CUBLAS_STATUS_NOT_INITIALIZED";
    case CUBLAS_STATUS_INVALID_VALUE:
      return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_EXECUTION_FAILED:
      return "CUBLAS_STATUS_EXECUTION_FAILED";
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "CUBLAS_STATUS_NOT_SUPPORTED";
  }
  return "unknown cuBLAS status";
}
const char* cublasGetStatusString(cublasStatus_t status) { return cublasGetStatusName(status); }

#define SIMT_CALLER Place(__builtin_return_address(0))

cublasStatus_t cublasSgemm(cublasHandle_t handle, cublasOperation_t transa,
                           cublasOperation_t transb, int m, int n, int k, const float* alpha,
                           const float* a, int lda, const float* b, int ldb, const float* beta,
                           float* c, int ldc) {
  return enqueue_product(
      handle,
      make_product(handle, transa, transb, m, n, k, alpha, a, CUDA_R_32F, lda, 0, b, CUDA_R_32F,
                   ldb, 0, beta, c, CUDA_R_32F, ldc, 0, 1, CUBLAS_COMPUTE_32F),
      SIMT_CALLER);
}
cublasStatus_t cublasSgemmStridedBatched(cublasHandle_t handle, cublasOperation_t transa,
                                         cublasOperation_t transb, int m, int n, int k,
                                         const float* alpha, const float* a, int lda,
                                         long long stride_a, const float* b, int ldb,
                                         long long stride_b, const float* beta, float* c, int ldc,
                                         long long stride_c, int batch) {
  return enqueue_product(handle,
                         make_product(handle, transa, transb, m, n, k, alpha, a, CUDA_R_32F, lda,
                                      stride_a, b, CUDA_R_32F, ldb, stride_b, beta, c, CUDA_R_32F,
                                      ldc, stride_c, batch, CUBLAS_COMPUTE_32F),
                         SIMT_CALLER);
}
cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t transa,
                            cublasOperation_t transb, int m, int n, int k, const void* alpha,
                            const void* a, cudaDataType type_a, int lda, const void* b,
                            cudaDataType type_b, int ldb, const void* beta, void* c,
                            cudaDataType type_c, int ldc, cublasComputeType_t compute,
                            cublasGemmAlgo_t) {
  return enqueue_product(handle,
                         make_product(handle, transa, transb, m, n, k, alpha, a, type_a, lda, 0, b,
                                      type_b, ldb, 0, beta, c, type_c, ldc, 0, 1, compute),
                         SIMT_CALLER);
}
cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t handle, cublasOperation_t transa,
                                          cublasOperation_t transb, int m, int n, int k,
                                          const void* alpha, const void* a, cudaDataType type_a,
                                          int lda, long long stride_a, const void* b,
                                          cudaDataType type_b, int ldb, long long stride_b,
                                          const void* beta, void* c, cudaDataType type_c, int ldc,
                                          long long stride_c, int batch,
                                          cublasComputeType_t compute, cublasGemmAlgo_t) {
  return enqueue_product(
      handle,
      make_product(handle, transa, transb, m, n, k, alpha, a, type_a, lda, stride_a, b, type_b, ldb,
                   stride_b, beta, c, type_c, ldc, stride_c, batch, compute),
      SIMT_CALLER);
}

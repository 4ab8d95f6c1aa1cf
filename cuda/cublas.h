#pragma once

#include <cublas_v2.h>

#include "cuda/runtime.h"

// cuBLAS is loaded when the first product is computed, not when the program starts: its libraries
// have some 600 MB, and machines without a GPU need not have them.
namespace muonlab::cuda {

/// The functions of cuBLAS that this backend calls.
struct CublasFunctions {
  decltype(&cublasCreate) create;
  decltype(&cublasDestroy) destroy;
  decltype(&cublasSetStream) set_stream;
  decltype(&cublasSetMathMode) set_math_mode;
  // Not decltype: the toolkit's header has overloads.
  cublasStatus_t (*gemm)(cublasHandle_t, cublasOperation_t, cublasOperation_t, int m, int n, int k,
                         const void* alpha, const void* a, cudaDataType, int lda,
                         long long stride_a, const void* b, cudaDataType, int ldb,
                         long long stride_b, const void* beta, void* c, cudaDataType, int ldc,
                         long long stride_c, int batch, cublasComputeType_t, cublasGemmAlgo_t);
  decltype(&cublasGetStatusString) status_string;
};
/// Throws: DeviceError if the library cannot be loaded.
const CublasFunctions& cublas();

/// Throws: DeviceError that names the call, its place and the state of the device, unless `status`
/// is success.
void check(cublasStatus_t status, const char* call, const char* file, int line);
#define MUONLAB_CUBLAS(call) ::muonlab::cuda::check((call), #call, __FILE__, __LINE__)

/// cuBLAS's state for the products of one stream.
class CublasHandle {
 public:
  explicit CublasHandle(const Stream& stream);
  ~CublasHandle();
  CublasHandle(const CublasHandle&) = delete;
  CublasHandle& operator=(const CublasHandle&) = delete;
  cublasHandle_t get() const { return handle_; }

 private:
  cublasHandle_t handle_ = nullptr;
};

}  // namespace muonlab::cuda

#include "cuda/cublas.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include "core/error.h"

namespace muonlab::cuda {
namespace {

#if defined(CUBLAS_VER_MAJOR)

// The header's names are macros for the symbols of the library: cublasCreate is cublasCreate_v2.
#define MUONLAB_TEXT_OF(x) #x
#define MUONLAB_TEXT(x) MUONLAB_TEXT_OF(x)

CublasFunctions load() {
  constexpr const char* kLibrary = "libcublas.so." MUONLAB_TEXT(CUBLAS_VER_MAJOR);
  void* library = dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
  if (!library)
    throw DeviceError(fmt::format(
        "matrix products on the GPU need cuBLAS, which could not be loaded ({}): install the CUDA "
        "toolkit's libraries, or use --device cpu",
        dlerror()));
  const auto find = [&](auto*& function, const char* name) {
    void* symbol = dlsym(library, name);
    if (!symbol) throw DeviceError(fmt::format("{} lacks the function {}", kLibrary, name));
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(symbol);
  };
  CublasFunctions f{};
  find(f.create, MUONLAB_TEXT(cublasCreate));
  find(f.destroy, MUONLAB_TEXT(cublasDestroy));
  find(f.set_stream, MUONLAB_TEXT(cublasSetStream));
  find(f.set_math_mode, MUONLAB_TEXT(cublasSetMathMode));
  find(f.gemm, MUONLAB_TEXT(cublasGemmStridedBatchedEx));
  find(f.status_string, MUONLAB_TEXT(cublasGetStatusString));
  return f;
}

#else  // the test emulator's header

CublasFunctions load() {
  return {&cublasCreate,
          &cublasDestroy,
          &cublasSetStream,
          &cublasSetMathMode,
          &cublasGemmStridedBatchedEx,
          &cublasGetStatusString};
}

#endif

}  // namespace

const CublasFunctions& cublas() {
  static const CublasFunctions functions = load();
  return functions;
}

void check(cublasStatus_t status, const char* call, const char* file, int line) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw DeviceError(fmt::format("{} failed at {}:{}: {} (cuBLAS status {}); {}", call, file, line,
                                cublas().status_string(status), static_cast<int>(status),
                                device_state()));
}

CublasHandle::CublasHandle(const Stream& stream) {
  MUONLAB_CUBLAS(cublas().create(&handle_));
  MUONLAB_CUBLAS(cublas().set_stream(handle_, stream.get()));
  // Parts of a sum are added in f32 even where the result is bf16.
  MUONLAB_CUBLAS(cublas().set_math_mode(handle_, CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION));
}
CublasHandle::~CublasHandle() { cublas().destroy(handle_); }

}  // namespace muonlab::cuda

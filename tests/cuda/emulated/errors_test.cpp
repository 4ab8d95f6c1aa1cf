#include <string>
#include <vector>

#include "core/backend.h"
#include "core/error.h"
#include "core/ops/attention.h"
#include "cuda/cublas.h"
#include "tests/cuda/gpu.h"
#include "tests/cuda_emu/control.h"
#include "tests/support/array.h"

using namespace muonlab;
using namespace muonlab::test;

// What a person reads when a call of CUDA or cuBLAS fails. The emulator reports each of these as
// well; those reports are taken back here.

namespace {

template <class F>
std::string message_of(const F& f) {
  std::string message = "nothing was thrown";
  try {
    f();
  } catch (const DeviceError& error) {
    message = error.what();
  }
  simt::take_reports();
  return message;
}

void check_parts(const std::string& message, const std::vector<std::string>& parts) {
  INFO(message);
  for (const std::string& part : parts) {
    INFO("expected to read: " << part);
    CHECK(message.find(part) != std::string::npos);
  }
}

std::string here(int line) { return "errors_test.cpp:" + std::to_string(line); }

const std::string kState = "; Emulated CUDA device, ", kFree = " MiB of 1.0 GiB free";

}  // namespace

TEST_CASE("a call of CUDA that fails names itself, its place, the reason and the device's state") {
  backend_of(kGpu);
  cudaStream_t gone = nullptr;
  MUONLAB_CUDA(cudaStreamCreateWithFlags(&gone, cudaStreamNonBlocking));
  MUONLAB_CUDA(cudaStreamDestroy(gone));
  const int line = __LINE__ + 1;
  check_parts(message_of([&] { MUONLAB_CUDA(cudaStreamSynchronize(gone)); }),
              {"cudaStreamSynchronize(gone) failed at ", here(line),
               "invalid resource handle (cudaErrorInvalidResourceHandle)", kState, kFree});
  MUONLAB_CUDA(cudaGetLastError());  // it is forgotten
}

TEST_CASE("a launch that fails names the line that asks for it") {
  // A grid has 65535 blocks at most in the third dimension: one for each sequence.
  const Tensor qkv = Tensor::zeros({65536, 1, 3}, DType::f32, kGpu);
  check_parts(message_of([&] {
                causal_attention(qkv, {1, 1, 1});
              }),
              {"the launch of a kernel failed at ", "cuda/attention.cu:",
               "invalid configuration argument (cudaErrorInvalidConfiguration)", kState, kFree});
  CHECK(Tensor::zeros({3}, DType::f32, kGpu).to_vector() == std::vector<double>(3));
}

TEST_CASE("a call of cuBLAS that fails names itself, its place and the reason") {
  const cuda::Stream stream;
  const cuda::CublasHandle handle(stream);
  // A matrix whose rows are said to be closer to each other than they are long.
  const float one = 1;
  Tensor x = Tensor::zeros({2, 2}, DType::f32, kGpu);
  float* p = x.data<float>();
  const int line = __LINE__ + 2;
  const auto multiply = [&] {
    MUONLAB_CUBLAS(cuda::cublas().gemm(handle.get(), CUBLAS_OP_N, CUBLAS_OP_N, 2, 2, 2, &one, p,
                                       CUDA_R_32F, 1, 0, p, CUDA_R_32F, 2, 0, &one, p, CUDA_R_32F,
                                       2, 0, 1, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
  };
  check_parts(message_of(multiply), {"cuda::cublas().gemm(handle.get(), ", " failed at ",
                                     here(line), "(cuBLAS status 7)", kState, kFree});
}

TEST_CASE("a kernel that crashes is an error of the next call, and the device is gone for good") {
  const std::vector<std::int32_t> far{1 << 20};
  const Tensor ids = Tensor::from<std::int32_t>({1, 1}, far, kGpu);
  const Tensor table = Tensor::zeros({2, 3}, DType::f32, kGpu);
  Tensor y = Tensor::empty({1, 1, 3}, DType::f32, kGpu);
  check_parts(message_of([&] {
                backend_of(kGpu).embedding({.ids = ids, .wte = table, .y = y});
                y.to_vector();
              }),
              {"failed at ", "cuda/", "(cudaErrorLaunchFailure)",
               "; the device does not answer any more"});
}

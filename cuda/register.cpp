// Linked into builds with CUDA.
#include <fmt/format.h>

#include "core/cpu/cpu_backend.h"
#include "core/device.h"
#include "core/error.h"
#include "cuda/cuda_backend.h"

namespace muonlab {
namespace {

/// The number of GPUs, or zero and why there is none.
struct Count {
  int devices = 0;
  std::string reason;
};
Count count_devices() {
  int devices = 0;
  const cudaError_t status = cudaGetDeviceCount(&devices);
  if (status == cudaSuccess && devices > 0) return {devices, {}};
  static_cast<void>(cudaGetLastError());
  return {
      0, status == cudaSuccess ? "no CUDA-capable device is detected" : cudaGetErrorString(status)};
}

}  // namespace

std::unique_ptr<Backend> make_backend(Device device) {
  if (device == Device{}) return std::make_unique<cpu::CpuBackend>();
  const Count count = count_devices();
  if (count.devices == 0)
    throw DeviceError(fmt::format(
        "no GPU can be used on this machine ({}): install NVIDIA's driver, or use --device cpu",
        count.reason));
  if (device.index != 0)
    throw DeviceError(
        fmt::format("one GPU is used, the first; to use GPU {} set CUDA_VISIBLE_DEVICES={}",
                    device.index, device.index));
  return std::make_unique<cuda::CudaBackend>();
}

std::vector<DeviceInfo> accelerators() {
  std::vector<DeviceInfo> found;
  const int devices = count_devices().devices;
  for (int index = 0; index < devices; ++index) {
    cudaDeviceProp p{};
    MUONLAB_CUDA(cudaGetDeviceProperties(&p, index));
    found.push_back({{DeviceKind::cuda, index},
                     fmt::format("{}, {:.1f} GiB, compute capability {}.{}", p.name,
                                 static_cast<double>(p.totalGlobalMem) / (std::size_t{1} << 30),
                                 p.major, p.minor)});
  }
  return found;
}

}  // namespace muonlab

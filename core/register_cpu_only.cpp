// Linked into builds without CUDA.
#include "core/cpu/cpu_backend.h"
#include "core/device.h"
#include "core/error.h"

namespace muonlab {

std::unique_ptr<Backend> make_backend(Device device) {
  if (device == Device{}) return std::make_unique<cpu::CpuBackend>();
  throw DeviceError(
      "this build of muonlab has no CUDA backend: configure it with -DMUONLAB_CUDA=ON where the "
      "CUDA toolkit is installed, or use --device cpu");
}

std::vector<DeviceInfo> accelerators() { return {}; }

}  // namespace muonlab

// Linked into builds without CUDA.
#include "core/cpu/cpu_backend.h"
#include "core/device.h"

namespace muonlab {

void register_all_backends() { register_backend(Device{}, std::make_unique<cpu::CpuBackend>()); }

}  // namespace muonlab

#pragma once

#include <memory>
#include <string>

namespace muonlab {

class Backend;

enum class DeviceKind { cpu, cuda };

struct Device {
  DeviceKind kind = DeviceKind::cpu;
  int index = 0;
  std::string str() const;
  friend bool operator==(const Device&, const Device&) = default;
};

/// The backend that serves a device. The first call registers every backend that was linked in.
/// Throws: DeviceError if this build or machine has no such device.
Backend& backend_of(Device device);

/// Called by register_all_backends() only.
void register_backend(Device device, std::unique_ptr<Backend> backend);

/// Registers the backends of this build. Defined by the one registration file that is linked:
/// core/register_cpu_only.cpp in builds without a GPU backend.
void register_all_backends();

}  // namespace muonlab

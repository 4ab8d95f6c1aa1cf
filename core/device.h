#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace muonlab {

class Backend;

enum class DeviceKind { cpu, cuda };

struct Device {
  DeviceKind kind = DeviceKind::cpu;
  int index = 0;
  std::string str() const;
  friend bool operator==(const Device&, const Device&) = default;
};

/// The backend that serves a device, made on first use. Thread-safe.
/// Throws: DeviceError if this build or machine has no such device, saying why.
Backend& backend_of(Device device);

/// A device that this build can use on this machine.
struct DeviceInfo {
  Device device;
  std::string description;  ///< what a person calls it: the name and size of a GPU
};
/// All of them, the CPU first.
std::vector<DeviceInfo> devices();

/// The device that "cpu", "cuda" or "auto" names; auto is a GPU where there is one.
/// Throws: ConfigError for other names, DeviceError if the device cannot be used, saying why.
Device parse_device(std::string_view name);

// Defined by the one registration file that is linked: core/register_cpu_only.cpp, or
// cuda/register.cpp in builds with CUDA.

/// A backend for a device. Throws: DeviceError saying why there is none.
std::unique_ptr<Backend> make_backend(Device device);
/// The devices beside the CPU.
std::vector<DeviceInfo> accelerators();

}  // namespace muonlab

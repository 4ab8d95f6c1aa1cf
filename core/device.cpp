#include "core/device.h"

#include <fmt/format.h>

#include <mutex>
#include <utility>

#include "core/backend.h"
#include "core/error.h"

namespace muonlab {

std::string Device::str() const {
  return kind == DeviceKind::cpu ? "cpu" : fmt::format("cuda:{}", index);
}

Backend& backend_of(Device device) {
  using Entry = std::pair<Device, std::unique_ptr<Backend>>;
  static std::mutex mutex;
  // Never destroyed: tensors with static lifetime may outlive any static object.
  static auto* made = new std::vector<Entry>;
  std::lock_guard lock(mutex);
  for (Entry& e : *made)
    if (e.first == device) return *e.second;
  return *made->emplace_back(device, make_backend(device)).second;
}

std::vector<DeviceInfo> devices() {
  std::vector<DeviceInfo> all{{Device{}, "the processor"}};
  for (DeviceInfo& info : accelerators()) all.push_back(std::move(info));
  return all;
}

Device parse_device(std::string_view name) {
  if (name == "cpu") return {};
  if (name == "auto") {
    const std::vector<DeviceInfo> found = accelerators();
    return found.empty() ? Device{} : found.front().device;
  }
  if (name != "cuda")
    throw ConfigError(fmt::format("device must be cpu, cuda or auto; got '{}'", name));
  const Device device{DeviceKind::cuda, 0};
  backend_of(device);
  return device;
}

}  // namespace muonlab

#include "core/device.h"

#include <fmt/format.h>

#include <mutex>
#include <utility>
#include <vector>

#include "core/backend.h"
#include "core/error.h"

namespace muonlab {
namespace {

using Entry = std::pair<Device, std::unique_ptr<Backend>>;

std::vector<Entry>& registry() {
  // Never destroyed: tensors with static lifetime may outlive any static object.
  static auto* entries = new std::vector<Entry>;
  return *entries;
}

}  // namespace

std::string Device::str() const {
  return kind == DeviceKind::cpu ? "cpu" : fmt::format("cuda:{}", index);
}

void register_backend(Device device, std::unique_ptr<Backend> backend) {
  registry().emplace_back(device, std::move(backend));
}

Backend& backend_of(Device device) {
  static std::once_flag once;
  std::call_once(once, register_all_backends);
  for (Entry& e : registry())
    if (e.first == device) return *e.second;
  throw DeviceError(fmt::format("no device {} in this build or on this machine", device.str()));
}

}  // namespace muonlab

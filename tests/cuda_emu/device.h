#pragma once

#include <cuda_runtime.h>

#include <vector>

#include "tests/cuda_emu/control.h"

// Helpers for tests: an emulated device in its first state, and memory on it.
namespace selftest {

/// Sets the configuration and forgets reports, and at the end undoes it.
class Emulation {
 public:
  explicit Emulation(simt::Order order = simt::Order::forward,
                     simt::Streams streams = simt::Streams::eager, std::uint64_t seed = 1) {
    simt::config() = {};
    simt::config().order = order;
    simt::config().streams = streams;
    simt::config().seed = seed;
    simt::take_reports();
  }
  ~Emulation() {
    cudaDeviceSynchronize();
    simt::take_reports();
    simt::config() = {};
  }
  Emulation(const Emulation&) = delete;
  Emulation& operator=(const Emulation&) = delete;
};

/// Numbers in device memory, zero at first.
template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(std::size_t count) : count_(count) {
    cudaMalloc(&data_, bytes());
    cudaMemset(data_, 0, bytes());
    cudaDeviceSynchronize();  // other streams do not wait for the default one
  }
  explicit DeviceArray(const std::vector<T>& values) : DeviceArray(values.size()) {
    cudaMemcpy(data_, values.data(), bytes(), cudaMemcpyHostToDevice);
  }
  ~DeviceArray() { cudaFree(data_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  T* get() const { return data_; }
  std::size_t bytes() const { return count_ * sizeof(T); }
  std::vector<T> values() const {
    std::vector<T> host(count_);
    cudaMemcpy(host.data(), data_, bytes(), cudaMemcpyDeviceToHost);
    return host;
  }

 private:
  T* data_ = nullptr;
  std::size_t count_;
};

/// The texts of the reports that nobody has taken, and takes them.
inline std::string reports_text() {
  std::string all;
  for (const auto& report : simt::take_reports()) all += report.text + "\n";
  return all;
}

}  // namespace selftest

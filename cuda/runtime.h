#pragma once

#include <cuda_runtime.h>

#include <array>
#include <cstddef>
#include <string>

#include "core/allocator.h"

// Owners of what the CUDA runtime hands out, and the check that every call of it goes through.
namespace muonlab::cuda {

/// Throws: DeviceError that names the call, its place and the state of the device, unless `status`
/// is success.
void check(cudaError_t status, const char* call, const char* file, int line);
#define MUONLAB_CUDA(call) ::muonlab::cuda::check((call), #call, __FILE__, __LINE__)

/// "NVIDIA H100 80GB HBM3, 79.1 GiB of 79.6 GiB free", or that the device does not answer.
std::string device_state();

/// An ordered queue of work on the device.
class Stream {
 public:
  Stream();
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  cudaStream_t get() const { return stream_; }
  void synchronize();

 private:
  cudaStream_t stream_ = nullptr;
};

/// A point in a stream.
class Event {
 public:
  Event();
  ~Event();
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  /// The point after all work that `stream` has been given so far.
  void record(const Stream& stream);
  /// Work given to `stream` from now on waits for the point; the host does not.
  void delay(const Stream& stream) const;
  /// The host waits for the point. Returns at once if it was never recorded.
  void synchronize() const;

 private:
  cudaEvent_t event_ = nullptr;
};

/// cudaMalloc. Throws: DeviceError that says what was asked for and what was free.
void* allocate_device(std::size_t bytes);

/// Memory on the device.
class DeviceBuffer {
 public:
  explicit DeviceBuffer(std::size_t bytes);
  ~DeviceBuffer();
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;
  void* get() const { return data_; }

 private:
  void* data_;
};

/// Memory on the host that the device can read while the host goes on.
class PinnedBuffer {
 public:
  explicit PinnedBuffer(std::size_t bytes);
  ~PinnedBuffer();
  PinnedBuffer(const PinnedBuffer&) = delete;
  PinnedBuffer& operator=(const PinnedBuffer&) = delete;
  void* get() const { return data_; }

 private:
  void* data_ = nullptr;
};

/// A block of the caching allocator for the length of one call. The next owner uses it on the same
/// stream, so it may be returned while kernels that read it still wait.
class Scratch {
 public:
  Scratch(Allocator& allocator, std::size_t bytes)
      : allocator_(allocator), bytes_(bytes), data_(allocator.allocate(bytes)) {}
  ~Scratch() { allocator_.release(data_, bytes_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  Allocator& allocator_;
  std::size_t bytes_;
  void* data_;
};

/// Copies from the host that neither wait for the device nor make it wait. The bytes go to a pinned
/// slot, cross the bus on a stream of their own while earlier kernels run, and are put in place in
/// the order of the compute stream: a destination may thus be memory that those kernels still read.
class Uploads {
 public:
  explicit Uploads(const Stream& compute) : compute_(compute) {}
  /// `src` may be changed as soon as this returns.
  void copy(void* dst, const void* src, std::size_t bytes);

 private:
  static constexpr std::size_t kSlots = 4, kSlotBytes = std::size_t{1} << 20;
  struct Slot {
    PinnedBuffer host{kSlotBytes};
    DeviceBuffer device{kSlotBytes};
    Event arrived, emptied;
  };

  const Stream& compute_;
  Stream bus_;
  std::array<Slot, kSlots> slots_;
  std::size_t next_ = 0;
};

}  // namespace muonlab::cuda

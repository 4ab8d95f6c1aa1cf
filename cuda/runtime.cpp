#include "cuda/runtime.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <iterator>

#include "core/error.h"

namespace muonlab::cuda {
namespace {

/// "79.1 GiB"
std::string size_text(std::size_t bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto size = static_cast<double>(bytes);
  const char* const* unit = std::begin(kUnits);
  for (; size >= 1024 && unit + 1 != std::end(kUnits); ++unit) size /= 1024;
  return fmt::format("{:.1f} {}", size, *unit);
}

/// For destructors: nothing can be thrown there, and an error of an earlier kernel, which such a
/// call may return, comes up again at the next call that is checked.
void ignore(cudaError_t) {}

}  // namespace

std::string device_state() {
  int index = 0;
  cudaDeviceProp properties{};
  std::size_t free = 0, total = 0;
  if (cudaGetDevice(&index) != cudaSuccess ||
      cudaGetDeviceProperties(&properties, index) != cudaSuccess ||
      cudaMemGetInfo(&free, &total) != cudaSuccess) {
    ignore(cudaGetLastError());
    return "the device does not answer any more";
  }
  return fmt::format("{}, {} of {} free", properties.name, size_text(free), size_text(total));
}

void check(cudaError_t status, const char* call, const char* file, int line) {
  if (status == cudaSuccess) return;
  ignore(cudaGetLastError());  // an error of this call alone must not be found by the next
  throw DeviceError(fmt::format("{} failed at {}:{}: {} ({}); {}", call, file, line,
                                cudaGetErrorString(status), cudaGetErrorName(status),
                                device_state()));
}

// Not blocking: these streams do not wait for the default one, which other libraries may use.
Stream::Stream() { MUONLAB_CUDA(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }
Stream::~Stream() { ignore(cudaStreamDestroy(stream_)); }
void Stream::synchronize() { MUONLAB_CUDA(cudaStreamSynchronize(stream_)); }

Event::Event() { MUONLAB_CUDA(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming)); }
Event::~Event() { ignore(cudaEventDestroy(event_)); }
void Event::record(const Stream& stream) { MUONLAB_CUDA(cudaEventRecord(event_, stream.get())); }
void Event::delay(const Stream& stream) const {
  MUONLAB_CUDA(cudaStreamWaitEvent(stream.get(), event_, 0));
}
void Event::synchronize() const { MUONLAB_CUDA(cudaEventSynchronize(event_)); }

void* allocate_device(std::size_t bytes) {
  void* block = nullptr;
  const cudaError_t status = cudaMalloc(&block, bytes);
  if (status == cudaErrorMemoryAllocation) {
    ignore(cudaGetLastError());  // handled here, not to be found by the next check
    throw DeviceError(fmt::format(
        "out of memory on the GPU: {} were asked for ({}); use a smaller batch with more gradient "
        "accumulation, or a smaller model",
        size_text(bytes), device_state()));
  }
  MUONLAB_CUDA(status);
  return block;
}

DeviceBuffer::DeviceBuffer(std::size_t bytes) : data_(allocate_device(bytes)) {}
DeviceBuffer::~DeviceBuffer() { ignore(cudaFree(data_)); }

PinnedBuffer::PinnedBuffer(std::size_t bytes) { MUONLAB_CUDA(cudaMallocHost(&data_, bytes)); }
PinnedBuffer::~PinnedBuffer() { ignore(cudaFreeHost(data_)); }

void Uploads::copy(void* dst, const void* src, std::size_t bytes) {
  for (std::size_t done = 0; done < bytes; done += kSlotBytes) {
    const std::size_t part = std::min(kSlotBytes, bytes - done);
    Slot& slot = slots_[next_++ % kSlots];
    slot.emptied.synchronize();
    std::memcpy(slot.host.get(), static_cast<const char*>(src) + done, part);
    MUONLAB_CUDA(cudaMemcpyAsync(slot.device.get(), slot.host.get(), part, cudaMemcpyHostToDevice,
                                 bus_.get()));
    slot.arrived.record(bus_);
    slot.arrived.delay(compute_);
    MUONLAB_CUDA(cudaMemcpyAsync(static_cast<char*>(dst) + done, slot.device.get(), part,
                                 cudaMemcpyDeviceToDevice, compute_.get()));
    slot.emptied.record(compute_);
  }
}

}  // namespace muonlab::cuda

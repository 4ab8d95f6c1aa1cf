// The CUDA runtime on host memory. Errors as the reference has them; what the real runtime would
// let pass or crash on is reported as well.

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <vector>

#include "tests/cuda_emu/streams.h"

namespace simt {

namespace {

cudaError_t g_last = cudaSuccess, g_sticky = cudaSuccess;

// What a call returns: its own error, or the sticky one.
cudaError_t finish(cudaError_t error) {
  if (error == cudaSuccess) return g_sticky;
  g_last = error;
  return error;
}

// ---- Pinned host memory

struct Pinned {
  std::size_t size;
  std::unique_ptr<unsigned char[]> data;
};
std::map<const unsigned char*, Pinned>& pinned() {
  static std::map<const unsigned char*, Pinned> blocks;
  return blocks;
}

// Bytes from here to the end of its pinned block; 0: it is in none.
std::size_t pinned_bytes_from(const void* address) {
  const auto* p = static_cast<const unsigned char*>(address);
  auto it = pinned().upper_bound(p);
  if (it == pinned().begin()) return 0;
  --it;
  const auto offset = static_cast<std::size_t>(p - it->first);
  return offset < it->second.size ? it->second.size - offset : 0;
}

bool check_pinned(const void* address, std::size_t bytes, const char* what, const Place& caller) {
  const std::size_t there = pinned_bytes_from(address);
  if (there == 0 || there >= bytes) return true;
  report(Fault::out_of_bounds, caller, [&] {
    return fmt::format("{} has {} bytes of pinned memory, not {}", what, there, bytes);
  });
  return false;
}

// ---- Copies

bool fits(cudaMemcpyKind kind, bool from_device, bool to_device) {
  switch (kind) {
    case cudaMemcpyHostToHost:
      return !from_device && !to_device;
    case cudaMemcpyHostToDevice:
      return !from_device && to_device;
    case cudaMemcpyDeviceToHost:
      return from_device && !to_device;
    case cudaMemcpyDeviceToDevice:
      return from_device && to_device;
    case cudaMemcpyDefault:
      return true;
  }
  return false;
}

void copy_now(void* to, const void* from, std::size_t bytes, const Place& caller) {
  const DeviceAccess open;
  const bool from_device = is_device(from), to_device = is_device(to);
  const bool ok =
      (!from_device || check_range(from, bytes, !to_device, "the source of a copy", caller)) &&
      (!to_device || check_range(to, bytes, false, "the destination of a copy", caller));
  if (!ok) return set_error(cudaErrorIllegalAddress, true);
  std::memmove(to, from, bytes);
  if (!to_device) return;
  // Bytes that were not initialised are not so in the copy.
  if (from_device)
    std::memmove(byte_states(to), byte_states(from), bytes);
  else
    mark_initialised(to, bytes);
}

cudaError_t copy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, Stream* stream,
                 const Place& caller) {
  if (bytes == 0) return cudaSuccess;
  const bool from_device = is_device(from), to_device = is_device(to);
  if (!fits(kind, from_device, to_device)) {
    report(Fault::memcpy_kind, caller, [&] {
      return std::string("a copy from ") + (from_device ? "device" : "host") + " to " +
             (to_device ? "device" : "host") + " memory, and the kind says otherwise";
    });
    return cudaErrorInvalidValue;
  }
  if (!check_pinned(from, bytes, "the source of a copy", caller) ||
      !check_pinned(to, bytes, "the destination of a copy", caller))
    return cudaErrorInvalidValue;
  const bool from_pageable = !from_device && pinned_bytes_from(from) == 0;
  const bool to_pageable = !to_device && pinned_bytes_from(to) == 0;
  // As the reference has it ("API synchronization behavior"): pageable memory is read before the
  // call returns, and written before it returns as well.
  std::shared_ptr<std::vector<unsigned char>> staged;
  if (from_pageable) {
    const auto* begin = static_cast<const unsigned char*>(from);
    staged = std::make_shared<std::vector<unsigned char>>(begin, begin + bytes);
  }
  enqueue(stream, [=] { copy_now(to, staged != nullptr ? staged->data() : from, bytes, caller); });
  if (to_pageable) synchronise(stream);
  return cudaSuccess;
}

cudaError_t fill(void* address, int value, std::size_t bytes, Stream* stream, const Place& caller) {
  enqueue(stream, [=] {
    const DeviceAccess open;
    if (!check_range(address, bytes, false, "the destination of a memset", caller))
      return set_error(cudaErrorIllegalAddress, true);
    std::memset(address, value, bytes);
    if (bytes > 0) mark_initialised(address, bytes);
  });
  return cudaSuccess;
}

// ---- Allocations

cudaError_t take_memory(void** address, std::size_t bytes) {
  *address = nullptr;
  if (g_sticky != cudaSuccess || bytes == 0) return cudaSuccess;
  *address = device_reserve(bytes);
  return *address != nullptr ? cudaSuccess : cudaErrorMemoryAllocation;
}

bool check_reserved(const void* address, const Place& caller) {
  if (is_reserved(address)) return true;
  report(Fault::bad_handle, caller,
         [&] { return "freed is " + describe_device(address) + ", not an allocation"; });
  return false;
}

// ---- Handles

std::vector<std::unique_ptr<Event>>& events() {
  static std::vector<std::unique_ptr<Event>> all;
  return all;
}

bool is_event(const Event* event) {
  return std::any_of(events().begin(), events().end(),
                     [event](const auto& e) { return e.get() == event; });
}

cudaError_t check_handles(bool ok, const Place& caller) {
  if (ok) return cudaSuccess;
  report(Fault::bad_handle, caller, [] { return "a stream or event that does not exist"; });
  return cudaErrorInvalidResourceHandle;
}

// Calls f if the handles are good.
template <class F>
cudaError_t with_handles(bool ok, const Place& caller, F f) {
  const cudaError_t error = check_handles(ok, caller);
  if (error == cudaSuccess) f();
  return finish(error);
}

cudaError_t is_ready(const std::shared_ptr<const Done>& done) {
  if (done == nullptr || done->reached) return g_sticky;
  make_progress();
  return cudaErrorNotReady;  // not an error that cudaGetLastError remembers
}

constexpr int kMultiprocessors = 4;
constexpr int kMaxSmem = 227 << 10, kDefaultSmem = 48 << 10;

}  // namespace

void set_error(cudaError_t error, bool sticky) {
  g_last = error;
  if (sticky && g_sticky == cudaSuccess) g_sticky = error;
}
void clear_errors() { g_last = g_sticky = cudaSuccess; }

}  // namespace simt

using namespace simt;

#define SIMT_CALLER Place(__builtin_return_address(0))

// ---- Devices

cudaError_t cudaGetDeviceCount(int* count) {
  *count = config().devices;
  return finish(config().devices > 0 ? cudaSuccess : cudaErrorNoDevice);
}
cudaError_t cudaSetDevice(int device) {
  return finish(device >= 0 && device < config().devices ? cudaSuccess : cudaErrorInvalidDevice);
}
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return finish(config().devices > 0 ? cudaSuccess : cudaErrorNoDevice);
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (device < 0 || device >= config().devices) return finish(cudaErrorInvalidDevice);
  *properties = {"Emulated CUDA device",
                 config().device_bytes,
                 kDefaultSmem,
                 kMaxSmem,
                 9,
                 0,
                 kMultiprocessors,
                 1024,
                 32};
  return finish(cudaSuccess);
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  if (device < 0 || device >= config().devices) return finish(cudaErrorInvalidDevice);
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock:
      *value = 1024;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      *value = kDefaultSmem;
      break;
    case cudaDevAttrWarpSize:
      *value = 32;
      break;
    case cudaDevAttrMultiProcessorCount:
      *value = kMultiprocessors;
      break;
    case cudaDevAttrComputeCapabilityMajor:
      *value = 9;
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *value = 0;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = kMaxSmem;
      break;
    default:
      return finish(cudaErrorInvalidValue);
  }
  return finish(cudaSuccess);
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = config().devices > 0 ? CUDART_VERSION : 0;
  return finish(cudaSuccess);
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return finish(cudaSuccess);
}
cudaError_t cudaDeviceSynchronize() {
  synchronise_all();
  return finish(cudaSuccess);
}

// ---- Errors

cudaError_t cudaPeekAtLastError() { return g_sticky != cudaSuccess ? g_sticky : g_last; }
cudaError_t cudaGetLastError() {
  const cudaError_t error = cudaPeekAtLastError();
  g_last = cudaSuccess;
  return error;
}
const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
#define SIMT_ERROR_TEXT(NAME, VALUE, TEXT) \
  case NAME:                               \
    return TEXT;
    SIMT_CUDA_ERRORS(SIMT_ERROR_TEXT)
#undef SIMT_ERROR_TEXT
  }
  return "unrecognized error code";
}
const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
#define SIMT_ERROR_NAME(NAME, VALUE, TEXT) \
  case NAME:                               \
    return #NAME;
    SIMT_CUDA_ERRORS(SIMT_ERROR_NAME)
#undef SIMT_ERROR_NAME
  }
  return "unrecognized error code";
}

// ---- Memory

cudaError_t cudaMalloc(void** address, std::size_t bytes) {
  const cudaError_t error = take_memory(address, bytes);
  if (*address != nullptr) device_allocate(*address);
  return finish(error);
}
cudaError_t cudaMallocAsync(void** address, std::size_t bytes, cudaStream_t stream) {
  if (const auto error = check_handles(is_stream(stream), SIMT_CALLER)) return finish(error);
  const cudaError_t error = take_memory(address, bytes);
  if (*address != nullptr) enqueue(stream, [p = *address] { device_allocate(p); });
  return finish(error);
}
cudaError_t cudaFree(void* address) {
  if (address == nullptr) return finish(cudaSuccess);
  synchronise_all();
  if (!check_reserved(address, SIMT_CALLER)) return finish(cudaErrorInvalidValue);
  device_free(address);
  return finish(cudaSuccess);
}
cudaError_t cudaFreeAsync(void* address, cudaStream_t stream) {
  const Place caller = SIMT_CALLER;
  return with_handles(is_stream(stream), caller, [&] {
    if (address == nullptr) return;
    enqueue(stream, [address, caller] {
      if (check_reserved(address, caller))
        device_free(address);
      else
        set_error(cudaErrorInvalidValue, true);
    });
  });
}
cudaError_t cudaMallocHost(void** address, std::size_t bytes) {
  auto data = std::make_unique<unsigned char[]>(bytes + 1);
  std::fill_n(data.get(), bytes, static_cast<unsigned char>(0xff));  // junk
  unsigned char* begin = data.get();
  pinned().emplace(begin, Pinned{bytes, std::move(data)});
  *address = begin;
  return finish(cudaSuccess);
}
cudaError_t cudaHostAlloc(void** address, std::size_t bytes, unsigned flags) {
  if (flags != cudaHostAllocDefault) return finish(cudaErrorInvalidValue);
  return cudaMallocHost(address, bytes);
}
cudaError_t cudaFreeHost(void* address) {
  if (address == nullptr) return finish(cudaSuccess);
  synchronise_all();
  if (pinned().erase(static_cast<unsigned char*>(address)) == 1) return finish(cudaSuccess);
  report(Fault::bad_handle, SIMT_CALLER, [] { return "what is freed is not pinned memory"; });
  return finish(cudaErrorInvalidValue);
}
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  *total = config().device_bytes;
  *free = *total - std::min(*total, device_bytes_in_use());
  return finish(cudaSuccess);
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  if (const auto error = check_handles(is_stream(stream), SIMT_CALLER)) return finish(error);
  return finish(copy(to, from, bytes, kind, stream, SIMT_CALLER));
}
cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  const cudaError_t error = copy(to, from, bytes, kind, nullptr, SIMT_CALLER);
  synchronise(nullptr);
  return finish(error);
}
cudaError_t cudaMemsetAsync(void* address, int value, std::size_t bytes, cudaStream_t stream) {
  if (const auto error = check_handles(is_stream(stream), SIMT_CALLER)) return finish(error);
  return finish(fill(address, value, bytes, stream, SIMT_CALLER));
}
cudaError_t cudaMemset(void* address, int value, std::size_t bytes) {
  return finish(fill(address, value, bytes, nullptr, SIMT_CALLER));
}

// ---- Streams and events

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  *stream = make_stream((flags & cudaStreamNonBlocking) == 0);
  return finish(cudaSuccess);
}
cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return cudaStreamCreateWithFlags(stream, cudaStreamDefault);
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  return with_handles(stream != nullptr && is_stream(stream), SIMT_CALLER,
                      [&] { destroy_stream(stream); });
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  return with_handles(is_stream(stream), SIMT_CALLER, [&] { synchronise(stream); });
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  if (const auto error = check_handles(is_stream(stream), SIMT_CALLER)) return finish(error);
  return is_ready(last_of(stream));
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  return with_handles(is_stream(stream) && is_event(event), SIMT_CALLER, [&] {
    if (event->done != nullptr) enqueue_after(stream, event->done, [] {});
  });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  events().push_back(std::make_unique<Event>());
  *event = events().back().get();
  return finish(cudaSuccess);
}
cudaError_t cudaEventCreate(cudaEvent_t* event) {
  return cudaEventCreateWithFlags(event, cudaEventDefault);
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return with_handles(is_event(event), SIMT_CALLER, [&] {
    std::erase_if(events(), [event](const auto& e) { return e.get() == event; });
  });
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return with_handles(is_stream(stream) && is_event(event), SIMT_CALLER,
                      [&] { event->done = enqueue_after(stream, nullptr, [] {}); });
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return with_handles(is_event(event), SIMT_CALLER, [&] { wait_for(event->done); });
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  if (const auto error = check_handles(is_event(event), SIMT_CALLER)) return finish(error);
  return is_ready(event->done);
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  const bool recorded = is_event(start) && is_event(end) && start->done && end->done;
  if (const auto error = check_handles(recorded, SIMT_CALLER)) return finish(error);
  if (!start->done->reached || !end->done->reached) return cudaErrorNotReady;
  const std::chrono::duration<float, std::milli> time = end->done->time - start->done->time;
  *milliseconds = time.count();
  return finish(cudaSuccess);
}

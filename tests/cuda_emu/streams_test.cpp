#include <chrono>
#include <thread>

#include "tests/cuda_emu/device.h"
#include "tests/cuda_emu/kernels.h"
#include "tests/cuda_emu/selftest.cuh"
#include "tests/support/catch.h"

using namespace selftest;
using simt::Order;
using simt::Streams;

namespace {

class HostStream {
 public:
  explicit HostStream(unsigned flags = cudaStreamNonBlocking) {
    cudaStreamCreateWithFlags(&stream_, flags);
  }
  ~HostStream() { cudaStreamDestroy(stream_); }
  HostStream(const HostStream&) = delete;
  HostStream& operator=(const HostStream&) = delete;
  cudaStream_t get() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

class HostEvent {
 public:
  HostEvent() { cudaEventCreate(&event_); }
  ~HostEvent() { cudaEventDestroy(event_); }
  HostEvent(const HostEvent&) = delete;
  HostEvent& operator=(const HostEvent&) = delete;
  cudaEvent_t get() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

struct Pinned {
  Pinned() { cudaMallocHost(&data, kCount * sizeof(float)); }
  ~Pinned() { cudaFreeHost(data); }
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;
  static constexpr unsigned kCount = 64;
  float* data = nullptr;
};
constexpr std::size_t kBytes = Pinned::kCount * sizeof(float);

void fill(float* x, float value, cudaStream_t s) { launch(kern::fill, 1, 64, 0, s, x, value); }
void add(float* x, float value, cudaStream_t s) { launch(kern::add, 1, 64, 0, s, x, value); }

}  // namespace

TEST_CASE(
    "work of eager streams is done when the call returns, that of lazy ones when waited for") {
  for (const auto streams : {Streams::eager, Streams::lazy}) {
    const Emulation e(Order::forward, streams);
    const bool eager = streams == Streams::eager;
    const DeviceArray<float> x(64);
    const HostStream s;
    const Pinned pinned;
    fill(x.get(), 3, s.get());
    cudaMemcpyAsync(pinned.data, x.get(), kBytes, cudaMemcpyDeviceToHost, s.get());
    CHECK((pinned.data[7] == 3) == eager);
    CHECK(cudaStreamSynchronize(s.get()) == cudaSuccess);
    CHECK(pinned.data[7] == 3);
  }
}

TEST_CASE("a pinned buffer that is reused before its copy has run sends the new data") {
  const Emulation e(Order::forward, Streams::lazy);
  const DeviceArray<float> x(64);
  const HostStream s;
  const Pinned pinned;
  std::fill_n(pinned.data, 64, 1.0f);
  cudaMemcpyAsync(x.get(), pinned.data, kBytes, cudaMemcpyHostToDevice, s.get());
  pinned.data[0] = 5;
  cudaStreamSynchronize(s.get());
  CHECK(x.values()[0] == 5);
  CHECK(x.values()[1] == 1);
}

TEST_CASE("pageable memory is read before an asynchronous copy returns, and written as well") {
  const Emulation e(Order::forward, Streams::lazy);
  const DeviceArray<float> x(64);
  const HostStream s;
  std::vector<float> host(64, 1.0f);
  cudaMemcpyAsync(x.get(), host.data(), kBytes, cudaMemcpyHostToDevice, s.get());
  host[0] = 5;
  std::vector<float> back(64);
  cudaMemcpyAsync(back.data(), x.get(), kBytes, cudaMemcpyDeviceToHost, s.get());
  CHECK(back[0] == 1);
}

TEST_CASE("work of one stream runs in order") {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    const Emulation e(Order::random, Streams::lazy, seed);
    const DeviceArray<float> x(64);
    const HostStream s, other;
    const DeviceArray<float> y(64);
    fill(x.get(), 1, s.get());
    for (int i = 0; i < 5; ++i) {
      add(x.get(), 1, s.get());
      add(y.get(), 1, other.get());
    }
    cudaStreamSynchronize(s.get());
    cudaStreamSynchronize(other.get());
    CHECK(x.values()[3] == 6);
    CHECK(y.values()[3] == 5);
  }
}

namespace {

// How often, of 20 seeds, the second stream reads what the first one has written.
int times_right(bool with_event) {
  int right = 0;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const Emulation e(Order::forward, Streams::lazy, seed);
    const DeviceArray<float> x(64), y(64);
    const HostStream a, b;
    const HostEvent event;
    fill(x.get(), 1, a.get());
    cudaEventRecord(event.get(), a.get());
    if (with_event) cudaStreamWaitEvent(b.get(), event.get(), 0);
    cudaMemcpyAsync(y.get(), x.get(), kBytes, cudaMemcpyDeviceToDevice, b.get());
    cudaDeviceSynchronize();
    right += y.values()[0] == 1;
  }
  return right;
}

}  // namespace

TEST_CASE("streams are ordered by events, and by nothing else") {
  CHECK(times_right(true) == 20);
  // Each of 20 orders is a coin: all alike once in 500,000 times, and the seeds are fixed.
  CHECK(times_right(false) > 0);
  CHECK(times_right(false) < 20);
}

TEST_CASE("an event is what was recorded when it was waited for") {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    const Emulation e(Order::forward, Streams::lazy, seed);
    const DeviceArray<float> x(64), y(64);
    const HostStream a, b;
    const HostEvent event;
    fill(x.get(), 1, a.get());
    cudaEventRecord(event.get(), a.get());
    cudaStreamWaitEvent(b.get(), event.get(), 0);
    cudaEventRecord(event.get(), b.get());  // would wait for itself if it were looked at later
    cudaMemcpyAsync(y.get(), x.get(), kBytes, cudaMemcpyDeviceToDevice, b.get());
    CHECK(cudaStreamSynchronize(b.get()) == cudaSuccess);
    CHECK(y.values()[0] == 1);
  }
}

TEST_CASE("an event that was never recorded holds nobody up") {
  const Emulation e(Order::forward, Streams::lazy);
  const HostStream s;
  const HostEvent event;
  CHECK(cudaStreamWaitEvent(s.get(), event.get(), 0) == cudaSuccess);
  CHECK(cudaStreamSynchronize(s.get()) == cudaSuccess);
  CHECK(cudaEventSynchronize(event.get()) == cudaSuccess);
  CHECK(cudaEventQuery(event.get()) == cudaSuccess);
}

TEST_CASE("the default stream is in order with blocking streams") {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    const Emulation e(Order::forward, Streams::lazy, seed);
    const DeviceArray<float> x(64);
    const HostStream s(cudaStreamDefault);
    fill(x.get(), 1, s.get());
    add(x.get(), 1, nullptr);
    add(x.get(), 1, s.get());
    cudaDeviceSynchronize();
    CHECK(x.values()[0] == 3);
  }
}

TEST_CASE("the default stream is not in order with the others") {
  int right = 0;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const Emulation e(Order::forward, Streams::lazy, seed);
    const DeviceArray<float> x(64);
    const HostStream s;
    fill(x.get(), 1, s.get());
    add(x.get(), 1, nullptr);
    cudaDeviceSynchronize();
    right += x.values()[0] == 2;
  }
  CHECK(right > 0);
  CHECK(right < 20);
}

TEST_CASE("a host that asks until the work is done gets there") {
  const Emulation e(Order::forward, Streams::lazy);
  const DeviceArray<float> x(64);
  const HostStream s;
  const HostEvent event;
  fill(x.get(), 1, s.get());
  add(x.get(), 1, s.get());
  cudaEventRecord(event.get(), s.get());
  CHECK(cudaEventQuery(event.get()) == cudaErrorNotReady);
  CHECK(cudaGetLastError() == cudaSuccess);  // not an error
  int asked = 1;
  while (cudaEventQuery(event.get()) == cudaErrorNotReady && asked < 100) ++asked;
  CHECK(asked < 100);
  CHECK(cudaStreamQuery(s.get()) == cudaSuccess);
  CHECK(x.values()[0] == 2);
}

TEST_CASE("time between events") {
  const Emulation e;
  const HostEvent start, end;
  float milliseconds = -1;
  cudaEventRecord(start.get());
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  cudaEventRecord(end.get());
  CHECK(cudaEventElapsedTime(&milliseconds, start.get(), end.get()) == cudaSuccess);
  CHECK(milliseconds >= 5);
  CHECK(milliseconds < 5000);
}

TEST_CASE("an error of a kernel comes to whoever waits, and stays") {
  const Emulation e(Order::forward, Streams::lazy);
  const DeviceArray<float> x(32);
  const HostStream s;
  fill(x.get(), 1, s.get());  // 64 threads on 32 numbers
  CHECK(cudaGetLastError() == cudaSuccess);
  CHECK(cudaStreamSynchronize(s.get()) == cudaErrorLaunchFailure);
  CHECK(cudaGetLastError() == cudaErrorLaunchFailure);
  CHECK(cudaGetLastError() == cudaErrorLaunchFailure);
  float* more = nullptr;
  CHECK(cudaMalloc(&more, 4) == cudaErrorLaunchFailure);
  CHECK(more == nullptr);
  simt::take_reports();
  CHECK(cudaGetLastError() == cudaSuccess);
}

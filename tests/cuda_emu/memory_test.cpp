#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstring>

#include "tests/cuda_emu/device.h"
#include "tests/cuda_emu/emulator.h"
#include "tests/cuda_emu/kernels.h"
#include "tests/cuda_emu/selftest.cuh"
#include "tests/support/catch.h"

using namespace selftest;

namespace {

// The signal that ended a process which ran f; 0: it went on to its end.
template <class F>
int signal_of(F f) {
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    std::signal(SIGSEGV, SIG_DFL);  // Catch has its own
    std::freopen("/dev/null", "w", stderr);
    f();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

}  // namespace

TEST_CASE("host code cannot touch device memory") {
  const Emulation e;
  const DeviceArray<float> x(64);
  CHECK(signal_of([&] { *const_cast<volatile float*>(x.get()) = 1; }) == SIGSEGV);
  CHECK(signal_of([&] { return *const_cast<volatile float*>(x.get()) > 0; }) == SIGSEGV);
  launch(kern::fill, 1, 64, 0, nullptr, x.get(), 1.0f);
  CHECK(signal_of([&] { return *const_cast<volatile float*>(x.get()) > 0; }) == SIGSEGV);
  CHECK(signal_of([&] {
          const simt::DeviceAccess open;
          return *const_cast<volatile float*>(x.get()) > 0;
        }) == 0);
}

TEST_CASE("an instrumented host function that touches device memory is reported first") {
  const Emulation e;
  const DeviceArray<float> x(64);
  const simt::DeviceAccess open;  // or it would crash
  kern::host_reads(x.get());
  const auto reports = simt::take_reports();
  REQUIRE(reports.size() == 1);
  CHECK(reports[0].fault == simt::Fault::host_access);
  CHECK(reports[0].where.find("kernels.cu:") == 0);
}

TEST_CASE("a copy there and back") {
  const Emulation e;
  const std::vector<float> values{1, 2, 3, 4, 5};
  const DeviceArray<float> x(values);
  CHECK(x.values() == values);
  float part[2];
  CHECK(cudaMemcpy(part, x.get() + 2, 8, cudaMemcpyDefault) == cudaSuccess);
  CHECK(part[0] == 3);
  CHECK(part[1] == 4);
  CHECK(cudaMemset(x.get() + 1, 0, 8) == cudaSuccess);
  CHECK(x.values() == std::vector<float>{1, 0, 0, 4, 5});
  CHECK(reports_text() == "");
}

TEST_CASE("how much memory is free") {
  const Emulation e;
  simt::config().device_bytes = 10000;
  std::size_t free = 0, total = 0;
  const std::size_t before = simt::device_bytes_in_use();
  cudaMemGetInfo(&free, &total);
  CHECK(total == 10000);
  CHECK(free == 10000 - before);
  {
    const DeviceArray<char> x(6000);
    cudaMemGetInfo(&free, &total);
    CHECK(free == 4000 - before);
    char* more = nullptr;
    CHECK(cudaMalloc(&more, 4001) == cudaErrorMemoryAllocation);
    CHECK(more == nullptr);
    CHECK(cudaGetLastError() == cudaErrorMemoryAllocation);
    CHECK(cudaGetLastError() == cudaSuccess);  // not sticky: one can go on
    const DeviceArray<char> fits(4000 - before);
    CHECK(fits.get() != nullptr);
  }
  cudaMemGetInfo(&free, &total);
  CHECK(free == 10000 - before);
}

TEST_CASE("allocations are aligned, apart, and not used again at once") {
  const Emulation e;
  const DeviceArray<char> stays(1);
  char* first = nullptr;
  cudaMalloc(&first, 10);
  cudaFree(first);
  const DeviceArray<char> a(10), b(100000), c(1);
  CHECK(a.get() != first);
  for (const char* p : {a.get(), b.get(), c.get()})
    CHECK(reinterpret_cast<std::uintptr_t>(p) % 256 == 0);
  CHECK(c.get() - b.get() > 200000);
}

TEST_CASE("addresses are used again when nothing is allocated, as if new") {
  const Emulation e;
  REQUIRE(simt::device_bytes_in_use() == 0);
  float* first = nullptr;
  {
    const DeviceArray<float> x(64);
    first = x.get();
    launch(kern::fill, 1, 64, 0, nullptr, x.get(), 1.0f);
  }
  float* again = nullptr;
  cudaMalloc(&again, 64 * sizeof(float));
  CHECK(again == first);
  float host[64];
  cudaMemcpy(host, again, sizeof host, cudaMemcpyDeviceToHost);
  CHECK(reports_text().find("uninitialised") == 0);
  cudaFree(again);
}

TEST_CASE("memory that a stream allocates and frees is there in between") {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    const Emulation e(simt::Order::forward, simt::Streams::lazy, seed);
    cudaStream_t s = nullptr;
    cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking);
    const DeviceArray<float> y(64);
    float* x = nullptr;
    CHECK(cudaMallocAsync(&x, 256, s) == cudaSuccess);
    launch(kern::fill, 1, 64, 0, s, x, 4.0f);
    cudaMemcpyAsync(y.get(), x, 256, cudaMemcpyDeviceToDevice, s);
    CHECK(cudaFreeAsync(x, s) == cudaSuccess);
    CHECK(cudaStreamSynchronize(s) == cudaSuccess);
    CHECK(y.values()[63] == 4);
    CHECK(reports_text() == "");
    cudaStreamDestroy(s);
  }
}

TEST_CASE("memory that a stream allocates is not there before its turn") {
  int found = 0;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const Emulation e(simt::Order::forward, simt::Streams::lazy, seed);
    cudaStream_t a = nullptr, b = nullptr;
    cudaStreamCreateWithFlags(&a, cudaStreamNonBlocking);
    cudaStreamCreateWithFlags(&b, cudaStreamNonBlocking);
    float* x = nullptr;
    cudaMallocAsync(&x, 256, a);
    launch(kern::fill, 1, 64, 0, b, x, 4.0f);
    cudaDeviceSynchronize();
    found += reports_text().find("not yet allocated in its stream") != std::string::npos;
    cudaFree(x);
    cudaStreamDestroy(a);
    cudaStreamDestroy(b);
  }
  CHECK(found > 0);
  CHECK(found < 20);
}

TEST_CASE("a machine without a device") {
  const Emulation e;
  simt::config().devices = 0;
  int count = -1;
  CHECK(cudaGetDeviceCount(&count) == cudaErrorNoDevice);
  CHECK(count == 0);
  CHECK(cudaSetDevice(0) == cudaErrorInvalidDevice);
}

TEST_CASE("what the device says of itself") {
  const Emulation e;
  int count = 0, value = 0;
  CHECK(cudaGetDeviceCount(&count) == cudaSuccess);
  CHECK(count == 1);
  cudaDeviceProp properties{};
  CHECK(cudaGetDeviceProperties(&properties, 0) == cudaSuccess);
  CHECK(std::strlen(properties.name) > 0);
  CHECK(cudaGetDeviceProperties(&properties, 1) == cudaErrorInvalidDevice);
  CHECK(cudaDeviceGetAttribute(&value, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0) == cudaSuccess);
  CHECK(std::size_t(value) == properties.sharedMemPerBlockOptin);
  CHECK(cudaGetErrorName(cudaErrorNoDevice) == std::string("cudaErrorNoDevice"));
  CHECK(cudaGetErrorString(cudaErrorMemoryAllocation) == std::string("out of memory"));
}

TEST_CASE("more than 48 KB of shared memory, for a kernel that asks for it") {
  const Emulation e;
  const DeviceArray<float> x(64);
  const std::size_t much = 100 * 1024;
  launch(kern::fill, 1, 64, much, nullptr, x.get(), 1.0f);
  CHECK(cudaGetLastError() == cudaErrorInvalidValue);
  simt::take_reports();
  CHECK(cudaFuncSetAttribute(kern::fill, cudaFuncAttributeMaxDynamicSharedMemorySize, int(much)) ==
        cudaSuccess);
  launch(kern::fill, 1, 64, much, nullptr, x.get(), 1.0f);
  CHECK(cudaGetLastError() == cudaSuccess);
  launch(kern::fill, 1, 64, much + 1, nullptr, x.get(), 1.0f);
  CHECK(cudaGetLastError() == cudaErrorInvalidValue);
  CHECK(cudaFuncSetAttribute(kern::fill, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             227 * 1024 + 1) == cudaErrorInvalidValue);
}

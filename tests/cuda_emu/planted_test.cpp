// Every planted bug is found, with its kind and its line, in every order of threads; kernels that
// are in order give no report and the right numbers.

#include "tests/cuda_emu/planted.h"

#include <algorithm>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "tests/cuda_emu/emulator.h"
#include "tests/cuda_emu/selftest.cuh"
#include "tests/support/catch.h"

using namespace selftest;

namespace {

constexpr simt::Order kOrders[] = {simt::Order::forward, simt::Order::reverse, simt::Order::random};

// "planted.cu:12", the line that ends with "// bug: NAME".
std::string marked_line(const std::string& name) {
  std::ifstream in(MUONLAB_SOURCE_DIR "/tests/cuda_emu/planted.cu");
  const std::string mark = "// bug: " + name;
  std::string text;
  for (int line = 1; std::getline(in, text); ++line) {
    const bool ends = text.size() >= mark.size() &&
                      text.compare(text.size() - mark.size(), mark.size(), mark) == 0;
    if (ends) return "planted.cu:" + std::to_string(line);
  }
  return "no line is marked with " + mark;
}

class Case {
 public:
  Case(simt::Order order, simt::Streams streams) {
    simt::config() = {};
    simt::config().order = order;
    simt::config().streams = streams;
    simt::config().seed = 11;
    simt::take_reports();
    buffers_.out = device_memory<float>(128);
    buffers_.in = device_memory<float>(64);
    cudaMemset(buffers_.out, 0, 128 * sizeof(float));
    cudaMemset(buffers_.in, 0, 64 * sizeof(float));
    cudaStreamCreate(&buffers_.stream);
  }
  ~Case() {
    simt::take_reports();
    cudaStreamDestroy(buffers_.stream);
    cudaFree(buffers_.out);
    cudaFree(buffers_.in);
    simt::config() = {};
  }
  Case(const Case&) = delete;
  Case& operator=(const Case&) = delete;

  template <class Entry>
  std::vector<simt::Report> run(const Entry& entry) {
    entry.run(buffers_);
    cudaStreamSynchronize(buffers_.stream);
    error_ = cudaPeekAtLastError();
    return simt::take_reports();
  }
  cudaError_t error() const { return error_; }
  std::vector<float> out(int count) const {
    std::vector<float> host(static_cast<std::size_t>(count));
    cudaMemcpy(host.data(), buffers_.out, host.size() * sizeof(float), cudaMemcpyDeviceToHost);
    return host;
  }

 private:
  Buffers buffers_;
  cudaError_t error_ = cudaSuccess;
};

// What C++ leaves undefined has a meaning in the PTX that nvcc makes of it: nothing is wrong there.
bool only_in_cpp(const PlantedBug& bug) {
  return bug.fault == simt::Fault::undefined || bug.name == std::string("shared_index_beyond_row");
}
bool in_ptx_mode() { return simt::kernel_source() != nullptr; }

bool same_bits(float a, float b) { return __float_as_uint(a) == __float_as_uint(b); }

}  // namespace

TEST_CASE("every planted bug is found") {
  for (const auto streams : {simt::Streams::eager, simt::Streams::lazy})
    for (const auto order : kOrders)
      for (const auto& bug : planted_bugs()) {
        if (in_ptx_mode() && only_in_cpp(bug)) continue;
        CAPTURE(bug.name, int(order), int(streams));
        const std::string line = marked_line(bug.name);
        Case c(order, streams);
        const auto reports = c.run(bug);
        std::string all;
        for (const auto& r : reports) all += r.text + "\n";
        CAPTURE(line, all);
        CHECK(std::any_of(reports.begin(), reports.end(), [&](const simt::Report& r) {
          return r.fault == bug.fault && (r.where == line || r.against == line);
        }));
        CHECK(c.error() != cudaSuccess);
      }
}

TEST_CASE("kernels that are in order give no report") {
  for (const auto streams : {simt::Streams::eager, simt::Streams::lazy})
    for (const auto order : kOrders)
      for (const auto& kernel : clean_kernels()) {
        CAPTURE(kernel.name, int(order), int(streams));
        Case c(order, streams);
        const auto reports = c.run(kernel);
        std::string all;
        for (const auto& r : reports) all += r.text + "\n";
        CAPTURE(all);
        CHECK(reports.empty());
        CHECK(c.error() == cudaSuccess);
        const auto out = c.out(kernel.count);
        for (int i = 0; i < kernel.count; ++i) {
          CAPTURE(i);
          CHECK(same_bits(out[std::size_t(i)], kernel.expected(i)));
        }
      }
}

TEST_CASE("every kind of fault has a planted bug") {
  std::set<simt::Fault> planted;
  for (const auto& bug : planted_bugs()) planted.insert(bug.fault);
  // host_access crashes: memory_test.cpp has it.
  for (int f = 0; f <= int(simt::Fault::bad_handle); ++f)
    if (simt::Fault(f) != simt::Fault::host_access) {
      CAPTURE(simt::name(simt::Fault(f)));
      CHECK(planted.count(simt::Fault(f)) == 1);
    }
}

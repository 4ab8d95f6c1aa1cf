#include <algorithm>

#include "tests/cuda_emu/device.h"
#include "tests/cuda_emu/kernels.h"
#include "tests/cuda_emu/selftest.cuh"
#include "tests/support/catch.h"

using namespace selftest;

namespace {

class Profiled : public Emulation {
 public:
  explicit Profiled(simt::Order order) : Emulation(order) {
    simt::config().profile = true;
    simt::take_profile();
  }
};

// The loads or stores of a line that contains `text`.
simt::LineProfile profile_of(const std::string& text, bool write) {
  for (const auto& line : simt::take_profile())
    if (line.source.find(text) != std::string::npos && line.write == write) return line;
  return {};
}

constexpr simt::Order kOrders[] = {simt::Order::forward, simt::Order::reverse, simt::Order::random};

}  // namespace

// A sector has 32 bytes, that is 8 floats.
TEST_CASE("sectors of global loads") {
  for (const auto order : kOrders)
    for (const auto& [stride, sectors] : {std::pair(1, 4), {2, 8}, {8, 32}, {0, 1}}) {
      const Profiled e(order);
      const DeviceArray<float> in(64 * 8), out(64);
      launch(kern::strided_loads, 1, 64, 0, nullptr, out.get(), in.get(), stride);
      const auto line = profile_of("// the strided load", false);
      CAPTURE(stride);
      CHECK(line.requests == 2);  // warps
      CHECK(line.per_request() == sectors);
      CHECK(line.ideal_per_request() == (stride == 0 ? 1 : 4));
      CHECK(line.size == 4);
      CHECK(!line.shared);
      CHECK(line.kernel == "strided_loads");
      CHECK(line.where.find("kernels.cu:") == 0);
    }
}

TEST_CASE("sectors of global stores, and of loads that begin inside a sector") {
  const Profiled e(simt::Order::random);
  const DeviceArray<float> in(65), out(64);
  launch(kern::strided_loads, 1, 32, 0, nullptr, out.get(), in.get() + 1, 1);
  auto lines = simt::take_profile();
  REQUIRE(lines.size() == 2);
  std::sort(lines.begin(), lines.end(),
            [](const auto& a, const auto& b) { return a.write < b.write; });
  CHECK(lines[0].per_request() == 5);
  CHECK(lines[0].ideal_per_request() == 4);
  CHECK(lines[1].per_request() == 4);
}

TEST_CASE("a load of 16 bytes is one request") {
  const Profiled e(simt::Order::forward);
  const DeviceArray<float> in(128), out(128);
  launch(kern::vector_loads, 1, 32, 0, nullptr, reinterpret_cast<float4*>(out.get()),
         reinterpret_cast<const float4*>(in.get()));
  const auto line = profile_of("// the vector load", false);
  CHECK(line.requests == 1);
  CHECK(line.size == 16);
  CHECK(line.per_request() == 16);
  CHECK(line.ideal_per_request() == 16);
}

TEST_CASE("a load that is aligned to 4 bytes is made of words") {
  const Profiled e(simt::Order::forward);
  const DeviceArray<float> in(96), out(96);
  launch(kern::triple_loads, 1, 32, 0, nullptr, reinterpret_cast<float3*>(out.get()),
         reinterpret_cast<const float3*>(in.get()));
  const auto line = profile_of("// the triple load", false);
  CHECK(line.requests == 3);
  CHECK(line.size == 4);
  CHECK(line.per_request() == 12);  // every third word of 12 sectors
  CHECK(line.ideal_per_request() == 4);
}

// Lanes that are `stride` words apart meet in a bank gcd(stride, 32) at a time; one word is given
// to all lanes that want it.
TEST_CASE("wavefronts of shared loads") {
  for (const auto order : kOrders)
    for (const auto& [stride, wavefronts] : {std::pair(1, 1), {2, 2}, {32, 32}, {33, 1}, {0, 1}}) {
      const Profiled e(order);
      const DeviceArray<float> out(32);
      launch(kern::shared_loads, 1, 32, 0, nullptr, out.get(), stride);
      const auto line = profile_of("// the shared load", false);
      CAPTURE(stride);
      CHECK(line.shared);
      CHECK(line.requests == 1);
      CHECK(line.per_request() == wavefronts);
      CHECK(line.ideal_per_request() == 1);
    }
}

TEST_CASE("nothing is counted unless asked for") {
  const Emulation e;
  simt::take_profile();
  const DeviceArray<float> in(64), out(64);
  launch(kern::strided_loads, 1, 64, 0, nullptr, out.get(), in.get(), 1);
  CHECK(simt::take_profile().empty());
}

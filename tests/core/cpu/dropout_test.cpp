#include <cmath>
#include <span>

#include "core/backend.h"
#include "tests/support/array.h"
#include "tests/support/catch.h"

using namespace muonlab;
using namespace muonlab::test;

TEST_CASE("dropout drops the share it is told, scales the rest, and repeats", "[dropout]") {
  Backend& cpu = backend_of(Device{});
  const std::int64_t n = 200001;
  Tensor x = Tensor::empty({n});
  x.fill(3);
  const auto drop = [&](double p, std::uint64_t seed, std::uint64_t stream) {
    Tensor y = Tensor::empty({n});
    y.fill(std::nan(""));
    cpu.dropout({.x = x, .y = y, .p = p, .beta = 0, .seed = seed, .stream = stream});
    return y;
  };
  for (double p : {0.1, 0.5, 0.9}) {
    const Tensor y = drop(p, 7, 11);
    std::int64_t dropped = 0, wrong = 0;
    for (float v : y.host<float>()) {
      if (v == 0)
        ++dropped;
      else if (std::abs(v - 3 / (1 - p)) > 1e-5)
        ++wrong;
    }
    INFO("p " << p);
    CHECK(wrong == 0);
    // Five standard deviations of a binomial count; a mask off by one part in a hundred is 20 away.
    const double mean = p * static_cast<double>(n), deviation = std::sqrt(mean * (1 - p));
    CHECK(std::abs(static_cast<double>(dropped) - mean) < 5 * deviation);
    CHECK(same_bits(y, drop(p, 7, 11)));
    CHECK(!same_bits(y, drop(p, 8, 11)));
    CHECK(!same_bits(y, drop(p, 7, 12)));
  }
  const Tensor nothing_dropped = drop(0, 7, 11);
  CHECK(same_bits(nothing_dropped, x));
  // beta = 1 adds the same masked values.
  Tensor sum = Tensor::empty({n});
  sum.fill(1);
  cpu.dropout({.x = x, .y = sum, .p = 0.5, .beta = 1, .seed = 7, .stream = 11});
  const Tensor y = drop(0.5, 7, 11);
  const std::span<const float> got = sum.host<float>(), masked = y.host<float>();
  std::int64_t wrong = 0;
  for (std::size_t i = 0; i < got.size(); ++i) wrong += got[i] != masked[i] + 1;
  CHECK(wrong == 0);
}

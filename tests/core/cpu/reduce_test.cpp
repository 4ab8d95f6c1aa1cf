#include <fmt/format.h>

#include <vector>

#include "core/backend.h"
#include "core/cpu/parallel.h"
#include "core/rng.h"
#include "tests/support/array.h"
#include "tests/support/catch.h"

using namespace muonlab;
using namespace muonlab::test;

namespace {

// One element; less than a vector; not a multiple of one; several chunks and a rest.
const std::int64_t kSizes[] = {1, 3, 17, 1000, 100003};

double sum_squares(const Tensor& x) {
  double sum = 0;
  backend_of(Device{}).sum_squares({&x, 1}, {&sum, 1});
  return sum;
}

}  // namespace

TEST_CASE("sums are exact where f64 is, and in an order fixed by the size", "[sum]") {
  Backend& cpu = backend_of(Device{});
  const int before = cpu::threads();
  for (std::int64_t n : kSizes) {
    // Multiples of 2^-10 below 64 in size: every partial sum of up to 2^31 of them, and of their
    // squares up to 2^22, is a number of f64, so nothing may be lost, neither a tail nor precision.
    const Rng rng(1, RngPurpose::test, stream_of("sum"));
    Array x(Shape{n});
    double sum = 0, squares = 0;
    for (std::int64_t i = 0; i < n; ++i) {
      x[i] = (static_cast<double>(rng.below(1 << 16, static_cast<std::uint64_t>(i))) - (1 << 15)) /
             1024;
      sum += x[i];
      squares += x[i] * x[i];
    }
    for (DType dtype : {DType::f32, DType::f64}) {
      INFO(name_of(dtype) << " n " << n);
      CHECK(cpu.sum(x.tensor(dtype)) == sum);
      CHECK(sum_squares(x.tensor(dtype)) == squares);
    }
    const Tensor rough = normal_array(Shape{n}, "rough").tensor(DType::f32);
    cpu::set_threads(1);
    const double one = cpu.sum(rough), one_square = sum_squares(rough);
    for (int threads : {2, 3, 8}) {
      cpu::set_threads(threads);
      CHECK(cpu.sum(rough) == one);
      CHECK(sum_squares(rough) == one_square);
    }
    cpu::set_threads(before);
  }
}

TEST_CASE("a squared sum beyond the range of f32 stays finite", "[sum]") {
  Tensor x = Tensor::empty({1000});
  x.fill(1e30);
  CHECK(sum_squares(x) == Approx(1e63).epsilon(1e-6));
}

TEST_CASE("many tensors are summed in one pass as each alone", "[sum]") {
  std::vector<Tensor> tensors;
  std::vector<double> want;
  for (std::int64_t n : {100003, 1, 0, 16384, 16385}) {
    tensors.push_back(normal_array(Shape{n}, fmt::format("t{}", n)).tensor(DType::f32));
    want.push_back(sum_squares(tensors.back()));
  }
  std::vector<double> sums(tensors.size(), -1);
  backend_of(Device{}).sum_squares(tensors, sums);
  CHECK(sums == want);
  CHECK(sums[2] == 0);
}

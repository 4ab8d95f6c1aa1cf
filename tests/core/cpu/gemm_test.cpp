#include <cmath>
#include <string>
#include <vector>

#include "core/backend.h"
#include "core/cpu/parallel.h"
#include "tests/support/array.h"
#include "tests/support/catch.h"
#include "tests/support/close.h"
#include "tests/support/reference.h"

using namespace muonlab;
using namespace muonlab::test;

namespace {

struct Sizes {
  std::int64_t m, n, k;
};
// One; one row, column or term; odd; not multiples of a vector or a tile; several tiles.
const Sizes kSizes[] = {{1, 1, 1},       {1, 70, 33},   {70, 1, 33},  {5, 7, 1},
                        {7, 5, 3},       {17, 33, 65},  {64, 64, 64}, {130, 67, 257},
                        {301, 203, 129}, {96, 400, 515}};

Array matrix(std::int64_t rows, std::int64_t columns, const std::string& name) {
  return normal_array(Shape{rows, columns}, name);
}

}  // namespace

TEST_CASE("products agree with the definition for all flags and sizes", "[gemm]") {
  Backend& cpu = backend_of(Device{});
  for (DType dtype : {DType::f32, DType::f64}) {
    for (const Sizes& s : kSizes) {
      for (int flags = 0; flags < 4; ++flags) {
        const bool trans_a = flags & 1, trans_b = flags & 2;
        const Array a = trans_a ? matrix(s.k, s.m, "a") : matrix(s.m, s.k, "a");
        const Array b = trans_b ? matrix(s.n, s.k, "b") : matrix(s.k, s.n, "b");
        for (double beta : {0.0, 1.0}) {
          Array c = matrix(s.m, s.n, "c");
          const double alpha = beta == 0 ? 1 : -0.75;
          const Array want = reference::gemm(a, trans_a, b, trans_b, alpha, beta, c);
          // beta = 0 must not read C.
          if (beta == 0) c.values.assign(c.values.size(), std::nan(""));
          Tensor got = c.tensor(dtype);
          cpu.gemm({.a = a.tensor(dtype),
                    .b = b.tensor(dtype),
                    .c = got,
                    .trans_a = trans_a,
                    .trans_b = trans_b,
                    .alpha = alpha,
                    .beta = beta});
          INFO(name_of(dtype) << " m " << s.m << " n " << s.n << " k " << s.k << " flags " << flags
                              << " beta " << beta);
          CHECK(relative_error(Array(got), want) <= tolerance(dtype, s.k + 1));
        }
      }
    }
  }
}

TEST_CASE("a batched product is each of its products", "[gemm]") {
  Backend& cpu = backend_of(Device{});
  const std::int64_t batch = 3, m = 37, n = 70, k = 45;
  for (int flags = 0; flags < 4; ++flags) {
    const bool trans_a = flags & 1, trans_b = flags & 2;
    const Tensor a =
        normal_array(trans_a ? Shape{batch, k, m} : Shape{batch, m, k}, "a").tensor(DType::f32);
    const Tensor b =
        normal_array(trans_b ? Shape{batch, n, k} : Shape{batch, k, n}, "b").tensor(DType::f32);
    Tensor c = normal_array(Shape{batch, m, n}, "c").tensor(DType::f32);
    Tensor single = c.clone();
    GemmArgs args{
        .a = a, .b = b, .c = c, .trans_a = trans_a, .trans_b = trans_b, .alpha = 0.5, .beta = 1};
    cpu.gemm(args);
    const auto matrix_of = [](const Tensor& t, std::int64_t z) {
      return t.slice(z, z + 1).reshape({t.shape()[1], t.shape()[2]});
    };
    for (std::int64_t z = 0; z < batch; ++z) {
      args.a = matrix_of(a, z);
      args.b = matrix_of(b, z);
      args.c = matrix_of(single, z);
      cpu.gemm(args);
    }
    INFO("flags " << flags);
    CHECK(relative_error(Array(c), Array(single)) <= tolerance(DType::f32, k + 1));
  }
}

TEST_CASE("a symmetric product is symmetric to the bit and equal to the plain one", "[gemm]") {
  Backend& cpu = backend_of(Device{});
  for (std::int64_t m : {1, 31, 64, 65, 200, 577}) {
    const std::int64_t k = 150;
    const Tensor a = normal_array(Shape{2, m, k}, "a").tensor(DType::f32);
    for (double beta : {0.0, 1.0}) {
      // With beta = 1 the caller promises that C was symmetric.
      Tensor start = Tensor::empty({2, m, m});
      start.fill(beta == 0 ? std::nan("") : 0.25);
      Tensor plain = start.clone(), mirrored = start.clone();
      GemmArgs args{.a = a, .b = a, .c = plain, .trans_b = true, .alpha = 1.5, .beta = beta};
      cpu.gemm(args);
      args.c = mirrored;
      args.symmetric = true;
      cpu.gemm(args);
      INFO("m " << m << " beta " << beta);
      CHECK(relative_error(Array(mirrored), Array(plain)) <= tolerance(DType::f32, k + 1));
      const auto c = mirrored.host<float>();
      std::int64_t unequal = 0;
      for (std::int64_t z = 0; z < 2; ++z)
        for (std::int64_t i = 0; i < m; ++i)
          for (std::int64_t j = 0; j < i; ++j)
            unequal += c[static_cast<std::size_t>((z * m + i) * m + j)] !=
                       c[static_cast<std::size_t>((z * m + j) * m + i)];
      CHECK(unequal == 0);
    }
  }
}

TEST_CASE("the bits of a product do not depend on the number of threads", "[gemm][threads]") {
  Backend& cpu = backend_of(Device{});
  const int before = cpu::threads();
  for (DType dtype : {DType::f32, DType::f64}) {
    for (const Sizes& s : {Sizes{301, 203, 129}, Sizes{1, 1000, 300}, Sizes{768, 65, 128}}) {
      for (bool symmetric : {false, true}) {
        const Array a = matrix(s.m, s.k, "a"), b = symmetric ? a : matrix(s.n, s.k, "b");
        const auto product = [&](int threads) {
          cpu::set_threads(threads);
          Tensor c = Tensor::empty({s.m, symmetric ? s.m : s.n}, dtype);
          cpu.gemm({.a = a.tensor(dtype),
                    .b = b.tensor(dtype),
                    .c = c,
                    .trans_b = true,
                    .symmetric = symmetric});
          return c;
        };
        const Tensor alone = product(1);
        for (int threads : {2, 3, 8}) {
          INFO(threads << " threads, m " << s.m << (symmetric ? ", symmetric" : ""));
          CHECK(same_bits(product(threads), alone));
        }
      }
    }
  }
  cpu::set_threads(before);
}

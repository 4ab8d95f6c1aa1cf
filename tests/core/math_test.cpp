#include "core/math.h"

#include <cmath>

#include "core/error.h"
#include "core/rng.h"
#include "tests/support/catch.h"

using namespace muonlab;
using math::Op;

namespace {

using Values = std::vector<double>;

// Sizes that are no multiple of a vector register or a tile.
constexpr std::int64_t kCount = 1037;

Tensor random(Shape shape, std::uint64_t stream, DType type) {
  const Rng rng(1, RngPurpose::test, stream);
  Values v(static_cast<std::size_t>(shape.numel()));
  for (std::size_t i = 0; i < v.size(); ++i) v[i] = rng.normal(i);
  if (type == DType::f64) return Tensor::from<double>(shape, v);
  return Tensor::from<float>(shape, std::vector<float>(v.begin(), v.end()));
}

/// Largest error of d against f(i), relative to `scale`, in units of the type's rounding.
template <class F>
double error(const Tensor& d, F f, double scale = 1) {
  const Values got = d.to_vector();
  double worst = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double expected = f(i);
    const double e = std::abs(got[i] - expected) / (std::abs(expected) + scale);
    // Written so that NaN counts as an error.
    if (!(e <= worst)) worst = std::isnan(e) ? INFINITY : e;
  }
  return worst / (d.dtype() == DType::f64 ? 0x1p-53 : 0x1p-24);
}

// The longest expression has five roundings of values of the order of `scale`.
constexpr double kRoundings = 8;

}  // namespace

TEST_CASE("math: elementwise functions") {
  for (DType type : {DType::f32, DType::f64}) {
    const Tensor x = random({kCount}, 1, type), y = random({kCount}, 2, type);
    const Tensor start = random({kCount}, 3, type);
    const Values a = x.to_vector(), b = y.to_vector(), d0 = start.to_vector();
    Tensor d = start.clone();

    math::axpby(d, 2, x, -0.5);
    CHECK(error(d, [&](std::size_t i) { return 2 * a[i] - 0.5 * d0[i]; }) < kRoundings);
    d.copy_from(start);
    math::add(d, 2, x, -0.5, y);
    CHECK(error(d, [&](std::size_t i) { return 2 * a[i] - 0.5 * b[i]; }) < kRoundings);
    d.copy_from(start);
    math::mul(d, x, y, 3);
    CHECK(error(
              d, [&](std::size_t i) { return a[i] * b[i] + 3 * d0[i]; }, 3) < kRoundings);
  }
}

TEST_CASE("math: a zero factor does not read the destination") {
  const Tensor x = random({kCount}, 1, DType::f32);
  const Values a = x.to_vector();
  Tensor d = Tensor::empty({kCount});
  d.fill(NAN);
  math::axpby(d, 1, x, 0);
  CHECK(d.to_vector() == a);
  d.fill(NAN);
  math::mul(d, x, x);
  CHECK(error(d, [&](std::size_t i) { return a[i] * a[i]; }) < kRoundings);
}

TEST_CASE("math: the destination may be a source") {
  const Tensor x = random({kCount}, 1, DType::f64);
  const Values a = x.to_vector();
  Tensor d = x.clone();
  math::add(d, 1, d, 2, d);
  CHECK(error(d, [&](std::size_t i) { return 3 * a[i]; }) < kRoundings);
  d.copy_from(x);
  math::mul(d, d, d);
  CHECK(error(d, [&](std::size_t i) { return a[i] * a[i]; }) < kRoundings);
  d.copy_from(x);
  math::axpby(d, 1, d, 1);
  CHECK(error(d, [&](std::size_t i) { return 2 * a[i]; }) < kRoundings);
}

TEST_CASE("math: scale takes many tensors, each with its factor") {
  const std::vector<Tensor> x{random({kCount}, 1, DType::f64), random({3, 5}, 2, DType::f64)};
  std::vector<Tensor> d{Tensor::empty({kCount}, DType::f64), Tensor::empty({3, 5}, DType::f64)};
  const Values factors{2, -0.5};
  math::scale(d, x, factors);
  for (std::size_t k = 0; k < x.size(); ++k) {
    const Values a = x[k].to_vector();
    CHECK(error(d[k], [&](std::size_t i) { return factors[k] * a[i]; }) < 1);
  }
  CHECK_THROWS_AS(math::scale(d, x, Values{1}), ShapeError);
}

TEST_CASE("math: gemm in every orientation") {
  constexpr std::int64_t m = 37, n = 53, k = 29;
  for (DType type : {DType::f32, DType::f64})
    for (std::int64_t batch : {0, 3})  // 0: plain matrices
      for (Op op_a : {Op::plain, Op::transposed})
        for (Op op_b : {Op::plain, Op::transposed}) {
          const auto shape = [batch](std::int64_t rows, std::int64_t cols) {
            return batch ? Shape{batch, rows, cols} : Shape{rows, cols};
          };
          const bool ta = op_a == Op::transposed, tb = op_b == Op::transposed;
          const Tensor a = random(ta ? shape(k, m) : shape(m, k), 1, type);
          const Tensor b = random(tb ? shape(n, k) : shape(k, n), 2, type);
          const Tensor start = random(shape(m, n), 3, type);
          const Values va = a.to_vector(), vb = b.to_vector(), vc = start.to_vector();
          const auto product = [&](std::size_t at) {
            const auto i = static_cast<std::int64_t>(at) % (m * n) / n;
            const auto j = static_cast<std::int64_t>(at) % n;
            const auto s = static_cast<std::int64_t>(at) / (m * n);
            double sum = 0;
            for (std::int64_t l = 0; l < k; ++l)
              sum += va[static_cast<std::size_t>(s * m * k + (ta ? l * m + i : i * k + l))] *
                     vb[static_cast<std::size_t>(s * k * n + (tb ? j * k + l : l * n + j))];
            return sum;
          };
          INFO(name_of(type) << " batch " << batch << " transposed " << ta << tb);
          Tensor c = start.clone();
          math::gemm(c, a, op_a, b, op_b, 0.5, 2);
          // k products of size about 1: k roundings of sums of at most about k.
          const double scale = k;
          CHECK(error(
                    c, [&](std::size_t i) { return 0.5 * product(i) + 2 * vc[i]; }, scale) <
                kRoundings);
          c.fill(NAN);
          math::gemm(c, a, op_a, b, op_b);
          CHECK(error(c, product, scale) < kRoundings);
        }
}

TEST_CASE("math: a symmetric product equals the full one and is exactly symmetric") {
  constexpr std::int64_t m = 301, k = 40;
  for (DType type : {DType::f32, DType::f64}) {
    const Tensor x = random({m, k}, 1, type);
    Tensor full = Tensor::empty({m, m}, type), half = Tensor::empty({m, m}, type);
    math::gemm(full, x, Op::plain, x, Op::transposed);
    half.fill(NAN);
    math::gemm(half, x, Op::plain, x, Op::transposed, 1, 0, true);
    const Values f = full.to_vector(), h = half.to_vector();
    CHECK(error(
              half, [&](std::size_t i) { return f[i]; }, k) < kRoundings);
    bool symmetric = true;
    for (std::size_t i = 0; i < m; ++i)
      for (std::size_t j = 0; j < i; ++j) symmetric = symmetric && h[i * m + j] == h[j * m + i];
    CHECK(symmetric);
  }
}

TEST_CASE("math: sums") {
  for (DType type : {DType::f32, DType::f64}) {
    const Tensor x = random({kCount}, 1, type);
    double sum = 0, squares = 0, size = 0;
    for (double v : x.to_vector()) {
      sum += v;
      squares += v * v;
      size += std::abs(v);
    }
    // Accumulated in f64 whatever the type.
    const double rounding = 0x1p-53 * kCount;
    CHECK(std::abs(math::sum(x) - sum) <= rounding * size);
    CHECK(std::abs(math::sum_squares(x) - squares) <= rounding * squares);
    CHECK(math::norm(x) == Approx(std::sqrt(squares)).epsilon(1e-12));
    CHECK(math::rms(x) == Approx(std::sqrt(squares / kCount)).epsilon(1e-12));
  }
  CHECK(math::sum(Tensor::empty({0})) == 0);
  CHECK(math::norm(Tensor::empty({0, 3})) == 0);
  CHECK_THROWS_AS(math::rms(Tensor::empty({0})), ShapeError);
}

TEST_CASE("math: every argument is checked") {
  Tensor d = Tensor::zeros({3, 4});
  const Tensor good = Tensor::zeros({3, 4}), shape = Tensor::zeros({4, 3});
  const Tensor type = Tensor::zeros({3, 4}, DType::f64);
  const Tensor ids = Tensor::zeros({3, 4}, DType::i32);
  CHECK_THROWS_AS(math::axpby(d, 1, shape, 1), ShapeError);
  CHECK_THROWS_AS(math::axpby(d, 1, type, 1), DtypeError);
  CHECK_THROWS_AS(math::axpby(d, 1, Tensor(), 1), ShapeError);
  CHECK_THROWS_AS(math::add(d, 1, good, 1, shape), ShapeError);
  CHECK_THROWS_AS(math::mul(d, shape, good), ShapeError);
  CHECK_THROWS_AS(math::sum(ids), DtypeError);
  CHECK_THROWS_AS(math::norm(Tensor()), ShapeError);
  Tensor whole = ids.clone();
  CHECK_THROWS_AS(math::axpby(whole, 1, ids, 1), DtypeError);
}

TEST_CASE("math: gemm refuses what does not fit") {
  const Tensor a = Tensor::zeros({3, 4}), b = Tensor::zeros({4, 5}),
               batched = Tensor::zeros({2, 4, 5});
  Tensor c = Tensor::zeros({3, 5});
  CHECK_NOTHROW(math::gemm(c, a, Op::plain, b, Op::plain));
  CHECK_THROWS_AS(math::gemm(c, a, Op::transposed, b, Op::plain), ShapeError);
  CHECK_THROWS_AS(math::gemm(c, a, Op::plain, b, Op::transposed), ShapeError);
  CHECK_THROWS_AS(math::gemm(c, a, Op::plain, batched, Op::plain), ShapeError);
  CHECK_THROWS_AS(math::gemm(c, a, Op::plain, b, Op::plain, 1, 0, true), ShapeError);
  CHECK_THROWS_AS(math::gemm(c, a, Op::plain, Tensor::zeros({4, 5}, DType::f64), Op::plain),
                  DtypeError);
  Tensor wrong = Tensor::zeros({5, 3});
  CHECK_THROWS_AS(math::gemm(wrong, a, Op::plain, b, Op::plain), ShapeError);
  Tensor vector = Tensor::zeros({4});
  CHECK_THROWS_AS(math::gemm(c, a, Op::plain, vector, Op::plain), ShapeError);

  // Rows of one storage may be read and written at once if they are different rows.
  Tensor stack = Tensor::zeros({9, 3});
  const Tensor top = stack.slice(0, 3), middle = stack.slice(3, 6);
  Tensor bottom = stack.slice(6, 9), overlapping = stack.slice(4, 7);
  CHECK_NOTHROW(math::gemm(bottom, top, Op::plain, middle, Op::plain));
  CHECK_THROWS_AS(math::gemm(overlapping, top, Op::plain, middle, Op::plain), ShapeError);
  CHECK_THROWS_AS(math::gemm(bottom, bottom, Op::plain, middle, Op::plain), ShapeError);
}

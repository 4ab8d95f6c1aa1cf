#include "core/cpu/small_product.h"

#include <vector>

#include "core/dtype.h"
#include "tests/support/array.h"
#include "tests/support/catch.h"
#include "tests/support/close.h"
#include "tests/support/reference.h"

using namespace muonlab;
using namespace muonlab::test;

namespace {

template <class T>
constexpr DType kType = sizeof(T) == 4 ? DType::f32 : DType::f64;

/// The rows of `array` at a distance of ld, what is between them filled with `gap`.
template <class T>
std::vector<T> spread(const Array& array, std::int64_t ld, T gap) {
  const std::int64_t rows = array.shape[0], columns = array.shape[1];
  std::vector<T> out(static_cast<std::size_t>(rows * ld), gap);
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j < columns; ++j)
      out[static_cast<std::size_t>(i * ld + j)] =
          static_cast<T>(array.values[static_cast<std::size_t>(i * columns + j)]);
  return out;
}

/// A value that no result has: what must not be read or written shows.
constexpr double kGap = 1e30;

template <class T>
void check_product(std::int64_t m, std::int64_t n, std::int64_t k, bool trans_a, bool add) {
  const Array a = normal_array(trans_a ? Shape{k, m} : Shape{m, k}, "a");
  const Array b = normal_array(Shape{k, n}, "b"), c = normal_array(Shape{m, n}, "c");
  const double alpha = add ? -0.75 : 1.5;
  const Array want = reference::gemm(a, trans_a, b, false, alpha, add ? 1 : 0, c);
  const std::int64_t lda = a.shape[1] + 3, ldb = n + 5, ldc = n + 2;
  const std::vector<T> a_rows = spread(a, lda, T(kGap)), b_rows = spread(b, ldb, T(kGap));
  std::vector<T> c_rows = spread(c, ldc, T(kGap));
  cpu::multiply_small(cpu::SmallProduct<T>{m, n, k, a_rows.data(), trans_a ? 1 : lda,
                                           trans_a ? lda : 1, b_rows.data(), ldb, c_rows.data(),
                                           ldc, static_cast<T>(alpha), add});
  Array got = want;
  int written = 0;
  for (std::int64_t i = 0; i < m; ++i)
    for (std::int64_t j = 0; j < ldc; ++j) {
      const T x = c_rows[static_cast<std::size_t>(i * ldc + j)];
      if (j < n)
        got.values[static_cast<std::size_t>(i * n + j)] = static_cast<double>(x);
      else
        written += x != T(kGap);
    }
  INFO(sizeof(T) * 8 << " bits, m " << m << " n " << n << " k " << k << " transposed " << trans_a
                     << " add " << add);
  CHECK(relative_error(got, want) <= tolerance(kType<T>, k + 1));
  CHECK(written == 0);
}

template <class T>
void check_transposition(std::int64_t rows, std::int64_t columns, std::int64_t width) {
  const Array from = normal_array(Shape{rows, columns}, "from");
  const std::int64_t ld = columns + 3;
  const std::vector<T> in = spread(from, ld, T(kGap));
  std::vector<T> to(static_cast<std::size_t>(columns * width), T(kGap));
  cpu::transpose_small(rows, columns, in.data(), ld, width, to.data());
  int wrong = 0;
  for (std::int64_t j = 0; j < columns; ++j)
    for (std::int64_t i = 0; i < width; ++i)
      wrong += to[static_cast<std::size_t>(j * width + i)] !=
               (i < rows ? in[static_cast<std::size_t>(i * ld + j)] : T(0));
  INFO(sizeof(T) * 8 << " bits, " << rows << " x " << columns << " width " << width);
  CHECK(wrong == 0);
}

}  // namespace

TEST_CASE("small products agree with the definition and stay within their rows",
          "[small_product]") {
  // One; fewer than a vector; each number of vectors that a tile has, with and without a rest; rows
  // that do and do not fill a tile.
  for (std::int64_t m : {1, 3, 16, 21})
    for (std::int64_t n : {1, 7, 16, 24, 32, 48, 64, 67, 131})
      for (std::int64_t k : {1, 5, 64})
        for (bool trans_a : {false, true})
          for (bool add : {false, true}) {
            check_product<float>(m, n, k, trans_a, add);
            check_product<double>(m, n, k, trans_a, add);
          }
}

TEST_CASE("a small transposition fills the width with zeros", "[small_product]") {
  for (std::int64_t rows : {1, 5, 16, 40, 64})
    for (std::int64_t columns : {1, 8, 16, 20, 33, 64}) {
      check_transposition<float>(rows, columns, 64);
      check_transposition<double>(rows, columns, 64);
    }
}

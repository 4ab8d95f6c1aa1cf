#pragma once

#include <cstdint>

namespace muonlab::cpu {

/// Name of the library that multiplies f32 matrices: "oneDNN 2.6.3" or "Eigen 3.4.0".
const char* gemm_provider();

/// One product on the calling thread: C = alpha op(A) op(B) + beta C, row-major; ld* are the
/// distances between rows. op(A) is (m, k), op(B) is (k, n). beta = 0 does not read C.
/// The one function through which every matrix product of the CPU backend goes.
template <class T>
struct Product {
  std::int64_t m, n, k;
  const T* a;
  std::int64_t lda;
  bool trans_a;
  const T* b;
  std::int64_t ldb;
  bool trans_b;
  T* c;
  std::int64_t ldc;
  T alpha = 1, beta = 0;
};
void multiply(const Product<float>& p);
void multiply(const Product<double>& p);

/// How each of `batch` (m, n) results with inner size k is cut into tiles of rows x columns. A
/// function of the sizes alone, so that the bits of a product do not depend on the number of
/// threads.
struct Tiling {
  std::int64_t rows, columns;
};
Tiling choose_tiling(std::int64_t batch, std::int64_t m, std::int64_t n, std::int64_t k,
                     bool trans_b);

}  // namespace muonlab::cpu

// The only file that calls a library for matrix products.
#include <fmt/format.h>
#include <omp.h>

#include <Eigen/Core>

#include "core/cpu/gemm.h"
#include "core/error.h"

#ifdef MUONLAB_HAVE_ONEDNN
#include <oneapi/dnnl/dnnl.h>
#endif

namespace muonlab::cpu {
namespace {

template <class T>
using Matrix = Eigen::Map<const Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>,
                          0, Eigen::OuterStride<>>;
template <class T>
using MutableMatrix = Eigen::Map<Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>,
                                 0, Eigen::OuterStride<>>;

template <class T>
void multiply_eigen(const Product<T>& p) {
  MutableMatrix<T> c(p.c, p.m, p.n, Eigen::OuterStride<>(p.ldc));
  if (p.beta == T(0)) {
    c.setZero();
  } else if (p.beta != T(1)) {
    c *= p.beta;
  }
  const Matrix<T> a(p.a, p.trans_a ? p.k : p.m, p.trans_a ? p.m : p.k, Eigen::OuterStride<>(p.lda));
  const Matrix<T> b(p.b, p.trans_b ? p.n : p.k, p.trans_b ? p.k : p.n, Eigen::OuterStride<>(p.ldb));
  if (p.trans_a && p.trans_b) {
    c.noalias() += p.alpha * a.transpose() * b.transpose();
  } else if (p.trans_a) {
    c.noalias() += p.alpha * a.transpose() * b;
  } else if (p.trans_b) {
    c.noalias() += p.alpha * a * b.transpose();
  } else {
    c.noalias() += p.alpha * a * b;
  }
}

/// A product with one row of A is bound by reading B once, which a general routine that packs B
/// does not do.
template <class T>
void multiply_row(const Product<T>& p) {
  const std::int64_t n = p.n, k = p.k;
  const T *a = p.a, alpha = p.alpha, beta = p.beta;
  T* c = p.c;
  if (p.trans_b) {
    // Read ahead by more than a core does by itself: 1.15 times the memory bandwidth on one thread.
    constexpr std::uintptr_t kAhead = 8192;  // bytes
    constexpr std::int64_t kLine = 64 / sizeof(T);
    for (std::int64_t j = 0; j < n; ++j) {
      const T* b = p.b + j * p.ldb;
      for (std::int64_t l = 0; l < k; l += kLine)
        __builtin_prefetch(
            reinterpret_cast<const void*>(reinterpret_cast<std::uintptr_t>(b + l) + kAhead));
      T sum = 0;
#pragma omp simd reduction(+ : sum)
      for (std::int64_t l = 0; l < k; ++l) sum += a[l] * b[l];
      c[j] = alpha * sum + (beta == T(0) ? T(0) : beta * c[j]);
    }
    return;
  }
  for (std::int64_t j = 0; j < n; ++j) c[j] = beta == T(0) ? T(0) : beta * c[j];
  for (std::int64_t l = 0; l < k; ++l) {
    const T* b = p.b + l * p.ldb;
    const T factor = alpha * a[l];
#pragma omp simd
    for (std::int64_t j = 0; j < n; ++j) c[j] += factor * b[j];
  }
}

template <class T>
bool is_row(const Product<T>& p) {
  return p.m == 1 && !p.trans_a;
}

}  // namespace

void multiply(const Product<double>& p) { is_row(p) ? multiply_row(p) : multiply_eigen(p); }

#ifdef MUONLAB_HAVE_ONEDNN

const char* gemm_provider() {
  static const std::string name = [] {
    const dnnl_version_t* v = dnnl_version();
    return fmt::format("oneDNN {}.{}.{}", v->major, v->minor, v->patch);
  }();
  return name.c_str();
}

void multiply(const Product<float>& p) {
  if (is_row(p)) return multiply_row(p);
  if (p.k == 0) return multiply_eigen(p);  // the library would leave C as it is
  // Threads belong to parallel_for; the library must not start its own.
  thread_local const bool serial = (omp_set_num_threads(1), true);
  static_cast<void>(serial);
  const dnnl_status_t status = dnnl_sgemm(p.trans_a ? 'T' : 'N', p.trans_b ? 'T' : 'N', p.m, p.n,
                                          p.k, p.alpha, p.a, p.lda, p.b, p.ldb, p.beta, p.c, p.ldc);
  if (status != dnnl_success) multiply_eigen(p);
}

#else

const char* gemm_provider() {
  static const std::string name =
      fmt::format("Eigen {}.{}.{}", EIGEN_WORLD_VERSION, EIGEN_MAJOR_VERSION, EIGEN_MINOR_VERSION);
  return name.c_str();
}

void multiply(const Product<float>& p) { is_row(p) ? multiply_row(p) : multiply_eigen(p); }

#endif

}  // namespace muonlab::cpu

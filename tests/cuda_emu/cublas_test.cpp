#include <cublas_v2.h>
#include <cuda_bf16.h>

#include <cmath>
#include <limits>
#include <random>

#include "tests/cuda_emu/device.h"
#include "tests/support/catch.h"

using namespace selftest;

namespace {

class Handle {
 public:
  Handle() { cublasCreate(&handle_); }
  ~Handle() { cublasDestroy(handle_); }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  cublasHandle_t get() const { return handle_; }

 private:
  cublasHandle_t handle_ = nullptr;
};

std::vector<float> random_values(std::size_t n, unsigned seed) {
  std::mt19937 generator(seed);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<float> values(n);
  for (float& v : values) v = uniform(generator);
  return values;
}

struct Shape {
  int m, n, k, lda, ldb, ldc;
  bool ta, tb;
  int rows_a() const { return ta ? k : m; }
  int columns_a() const { return ta ? m : k; }
  int rows_b() const { return tb ? n : k; }
  int columns_b() const { return tb ? k : n; }
};

cublasOperation_t op(bool transposed) { return transposed ? CUBLAS_OP_T : CUBLAS_OP_N; }

// Column-major, in double.
std::vector<float> reference(const Shape& s, float alpha, const std::vector<float>& a,
                             const std::vector<float>& b, float beta, std::vector<float> c) {
  for (int j = 0; j < s.n; ++j)
    for (int i = 0; i < s.m; ++i) {
      double sum = 0;
      for (int p = 0; p < s.k; ++p) {
        const int ia = s.ta ? i * s.lda + p : p * s.lda + i;
        const int ib = s.tb ? p * s.ldb + j : j * s.ldb + p;
        sum += double(a[std::size_t(ia)]) * double(b[std::size_t(ib)]);
      }
      float& out = c[std::size_t(j * s.ldc + i)];
      out = float(alpha * sum + (beta != 0 ? double(beta) * double(out) : 0));
    }
  return c;
}

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double largest = a.size() == b.size() ? 0 : std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < a.size() && i < b.size(); ++i)
    largest = std::max(largest, std::abs(double(a[i]) - double(b[i])));
  return largest;
}

std::vector<__nv_bfloat16> to_bf16(const std::vector<float>& v) {
  return std::vector<__nv_bfloat16>(v.begin(), v.end());
}
std::vector<float> to_float(const std::vector<__nv_bfloat16>& v) {
  return std::vector<float>(v.begin(), v.end());
}

// k = 6 products of numbers up to 1, and beta c: each of fewer than 8 roundings of at most 2^-24 of
// a partial sum below 16. A missing product would be some 0.1.
constexpr double kTolerance = 8 * 16 * 6e-8;

}  // namespace

TEST_CASE("products with every transposition and room between columns") {
  for (const bool ta : {false, true})
    for (const bool tb : {false, true})
      for (const float beta : {0.0f, 0.5f}) {
        const Emulation e;
        const Handle handle;
        Shape s{4, 5, 6, 0, 0, 7, ta, tb};
        s.lda = s.rows_a() + 1;
        s.ldb = s.rows_b() + 2;
        const auto a = random_values(std::size_t(s.lda * s.columns_a()), 1);
        const auto b = random_values(std::size_t(s.ldb * s.columns_b()), 2);
        const auto c = random_values(std::size_t(s.ldc * s.n), 3);
        const DeviceArray<float> da(a), db(b), dc(c);
        const float alpha = 1.5f;
        CHECK(cublasSgemm(handle.get(), op(ta), op(tb), s.m, s.n, s.k, &alpha, da.get(), s.lda,
                          db.get(), s.ldb, &beta, dc.get(), s.ldc) == CUBLAS_STATUS_SUCCESS);
        CAPTURE(ta, tb, beta);
        CHECK(largest_difference(dc.values(), reference(s, alpha, a, b, beta, c)) < kTolerance);
        CHECK(reports_text() == "");
      }
}

TEST_CASE("batches") {
  const Emulation e;
  const Handle handle;
  const Shape s{3, 2, 6, 3, 6, 3, false, false};
  const auto a = random_values(3 * 18 + 10, 1), b = random_values(3 * 12, 2);
  const DeviceArray<float> da(a), db(b), dc(3 * 6);
  const float one = 1, zero = 0;
  CHECK(cublasSgemmStridedBatched(handle.get(), CUBLAS_OP_N, CUBLAS_OP_N, 3, 2, 6, &one, da.get(),
                                  3, 20, db.get(), 6, 12, &zero, dc.get(), 3, 6,
                                  3) == CUBLAS_STATUS_SUCCESS);
  const auto got = dc.values();
  for (int i = 0; i < 3; ++i) {
    const std::vector<float> ai(a.begin() + i * 20, a.begin() + i * 20 + 18);
    const std::vector<float> bi(b.begin() + i * 12, b.begin() + i * 12 + 12);
    const std::vector<float> ci(got.begin() + i * 6, got.begin() + i * 6 + 6);
    CHECK(largest_difference(ci, reference(s, 1, ai, bi, 0, std::vector<float>(6))) < kTolerance);
  }
  CHECK(reports_text() == "");
}

TEST_CASE("bf16 operands, results in f32 and in bf16") {
  const Emulation e;
  const Handle handle;
  const Shape s{4, 5, 6, 4, 6, 4, false, false};
  const auto a = to_bf16(random_values(24, 1)), b = to_bf16(random_values(30, 2));
  const DeviceArray<__nv_bfloat16> da(a), db(b), dc(20);
  const DeviceArray<float> df(20);
  const float one = 1, zero = 0;
  const auto product = [&](void* c, cudaDataType type) {
    return cublasGemmEx(handle.get(), CUBLAS_OP_N, CUBLAS_OP_N, 4, 5, 6, &one, da.get(),
                        CUDA_R_16BF, 4, db.get(), CUDA_R_16BF, 6, &zero, c, type, 4,
                        CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
  };
  const auto want = reference(s, 1, to_float(a), to_float(b), 0, std::vector<float>(20));
  CHECK(product(df.get(), CUDA_R_32F) == CUBLAS_STATUS_SUCCESS);
  CHECK(largest_difference(df.values(), want) < kTolerance);
  CHECK(cublasSetMathMode(handle.get(), CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION) ==
        CUBLAS_STATUS_SUCCESS);
  CHECK(product(dc.get(), CUDA_R_16BF) == CUBLAS_STATUS_SUCCESS);
  const std::vector<float> rounded = to_float(to_bf16(want));
  // Nothing else than one rounding, of sums in f32, which are no ties.
  CHECK(largest_difference(to_float(dc.values()), rounded) == 0);
  CHECK(cublasSetMathMode(handle.get(), CUBLAS_DEFAULT_MATH) == CUBLAS_STATUS_SUCCESS);
  CHECK(product(dc.get(), CUDA_R_16BF) == CUBLAS_STATUS_SUCCESS);
  // Half of the sum rounded to 8 bits before, of numbers below 4.
  const double difference = largest_difference(to_float(dc.values()), rounded);
  CHECK(difference > 0);
  CHECK(difference <= 4.0 / 128);
  CHECK(reports_text() == "");
}

// 1 + 2^-11 has 11 bits behind the point, and TF32 keeps 10: half a unit goes away from zero.
TEST_CASE("TF32 rounds the operands, by either switch") {
  const Emulation e;
  const Handle handle;
  const float x = 1 + 1.0f / 2048, one = 1, zero = 0;
  const DeviceArray<float> a(std::vector<float>{x}), b(std::vector<float>{1}), c(1);
  const auto product = [&](cublasComputeType_t compute) {
    cublasGemmEx(handle.get(), CUBLAS_OP_N, CUBLAS_OP_N, 1, 1, 1, &one, a.get(), CUDA_R_32F, 1,
                 b.get(), CUDA_R_32F, 1, &zero, c.get(), CUDA_R_32F, 1, compute,
                 CUBLAS_GEMM_DEFAULT);
    return c.values()[0];
  };
  CHECK(product(CUBLAS_COMPUTE_32F) == x);
  CHECK(product(CUBLAS_COMPUTE_32F_FAST_TF32) == 1 + 1.0f / 1024);
  CHECK(cublasSetMathMode(handle.get(), CUBLAS_TF32_TENSOR_OP_MATH) == CUBLAS_STATUS_SUCCESS);
  CHECK(product(CUBLAS_COMPUTE_32F) == 1 + 1.0f / 1024);
}

TEST_CASE("a product runs in the stream of its handle") {
  const Emulation e(simt::Order::forward, simt::Streams::lazy);
  const Handle handle;
  cudaStream_t s = nullptr;
  cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking);
  const DeviceArray<float> a(std::vector<float>{2}), b(std::vector<float>{3}), c(1);
  CHECK(cublasSetStream(handle.get(), s) == CUBLAS_STATUS_SUCCESS);
  const float one = 1, zero = 0;
  cublasSgemm(handle.get(), CUBLAS_OP_N, CUBLAS_OP_N, 1, 1, 1, &one, a.get(), 1, b.get(), 1, &zero,
              c.get(), 1);
  CHECK(cudaStreamQuery(s) == cudaErrorNotReady);
  cudaStreamSynchronize(s);
  CHECK(c.values()[0] == 6);
  cudaStreamDestroy(s);
}

TEST_CASE("operands are checked") {
  const Emulation e;
  const Handle handle;
  const float one = 1, zero = 0;
  const DeviceArray<float> x(16);
  float* unset = nullptr;
  cudaMalloc(&unset, 64);
  const auto faults = [&](const float* a, int lda, const float* b, float beta, float* c) {
    cublasSgemm(handle.get(), CUBLAS_OP_N, CUBLAS_OP_N, 4, 4, 4, &one, a, lda, b, 4, &beta, c, 4);
    std::string names;
    for (const auto& r : simt::take_reports())
      names += simt::name(r.fault) + std::string(" ") + r.where.substr(0, r.where.find(':'));
    return names;
  };
  CHECK(faults(x.get(), 4, x.get(), 0, unset) == "");
  CHECK(faults(x.get(), 5, x.get(), 0, unset) == "out-of-bounds cublas_test.cpp");
  cudaFree(unset);
  cudaMalloc(&unset, 64);
  CHECK(faults(unset, 4, x.get(), 0, x.get()) == "uninitialised cublas_test.cpp");
  CHECK(faults(x.get(), 4, unset, 0, x.get()) == "uninitialised cublas_test.cpp");
  CHECK(faults(x.get(), 4, x.get(), 1, unset) == "uninitialised cublas_test.cpp");
  float host[16] = {};
  CHECK(faults(host, 4, x.get(), 0, x.get()) == "host-pointer cublas_test.cpp");
  CHECK(cublasSgemm(handle.get(), CUBLAS_OP_N, CUBLAS_OP_N, 4, 4, 4, &one, x.get(), 3, x.get(), 4,
                    &zero, x.get(), 4) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(cublasSgemm(nullptr, CUBLAS_OP_N, CUBLAS_OP_N, 4, 4, 4, &one, x.get(), 4, x.get(), 4, &zero,
                    x.get(), 4) == CUBLAS_STATUS_NOT_INITIALIZED);
  CHECK(cublasGemmEx(handle.get(), CUBLAS_OP_N, CUBLAS_OP_N, 4, 4, 4, &one, x.get(), CUDA_R_32F, 4,
                     x.get(), CUDA_R_16BF, 4, &zero, x.get(), CUDA_R_32F, 4, CUBLAS_COMPUTE_32F,
                     CUBLAS_GEMM_DEFAULT) == CUBLAS_STATUS_NOT_SUPPORTED);
  cudaFree(unset);
}

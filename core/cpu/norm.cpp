// LayerNorm (Ba et al. 2016) and RMSNorm (Zhang, Sennrich 2019), algorithms by row:
//   xhat = (x - mean) rstd       y = xhat w + b
//   h = dy w                     dx = rstd (h - mean(h) - xhat mean(h xhat))
//   dw = sum dy xhat             db = sum dy
// RMSNorm is the same with mean = 0 and without the term mean(h).
#include <algorithm>
#include <cmath>

#include "core/cpu/cpu_backend.h"
#include "core/cpu/parallel.h"

namespace muonlab::cpu {
namespace {

/// Rows a chunk: enough elements to be worth a thread, few enough that eight threads share 1000
/// rows.
std::int64_t row_grain(std::int64_t c) {
  return std::max<std::int64_t>(1, 16384 / std::max<std::int64_t>(c, 1));
}

template <class T>
T row_sum(const T* x, std::int64_t c) {
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = 0; i < c; ++i) sum += x[i];
  return sum;
}

template <class T>
void norm_typed(const NormArgs& a) {
  const std::int64_t n = a.x.shape().rows(), c = a.x.shape()[-1];
  const T *x0 = a.x.data<T>(), *w = a.w.data<T>(), *b = a.b.defined() ? a.b.data<T>() : nullptr;
  Tensor y_out = a.y, mean_out = a.mean, rstd_out = a.rstd;
  T *y0 = y_out.data<T>(), *rstd = rstd_out.data<T>();
  T* mean = a.mean.defined() ? mean_out.data<T>() : nullptr;
  const T inv_c = T(1) / static_cast<T>(c), eps = static_cast<T>(a.eps);
  parallel_for(n, row_grain(c), [&](std::int64_t begin, std::int64_t end) {
    const T *gain = w, *offset = b;  // GCC gathers through a captured pointer
    for (std::int64_t r = begin; r < end; ++r) {
      const T* x = x0 + r * c;
      T* y = y0 + r * c;
      // Corrected two-pass (Chan, Golub, LeVeque 1983, equation 1.7): what the first mean misses is
      // found on the way to the variance.
      const T first = mean ? row_sum(x, c) * inv_c : T(0);
      T rest = 0, square = 0;
#pragma omp simd reduction(+ : rest, square)
      for (std::int64_t i = 0; i < c; ++i) {
        rest += x[i] - first;
        square += (x[i] - first) * (x[i] - first);
      }
      const T missed = mean ? rest * inv_c : T(0);
      const T mu = first + missed;
      const T rs = T(1) / std::sqrt(square * inv_c - missed * missed + eps);
      if (mean) mean[r] = mu;
      rstd[r] = rs;
      if (offset) {
#pragma omp simd
        for (std::int64_t i = 0; i < c; ++i) y[i] = (x[i] - mu) * rs * gain[i] + offset[i];
      } else {
#pragma omp simd
        for (std::int64_t i = 0; i < c; ++i) y[i] = (x[i] - mu) * rs * gain[i];
      }
    }
  });
}

template <class T>
void norm_backward_typed(const NormBackwardArgs& a) {
  const std::int64_t n = a.x.shape().rows(), c = a.x.shape()[-1];
  const T *x0 = a.x.data<T>(), *w = a.w.data<T>(), *dy0 = a.dy.data<T>(), *rstd = a.rstd.data<T>();
  const T* mean = a.mean.defined() ? a.mean.data<T>() : nullptr;
  Tensor dx_out = a.dx, dw_out = a.dw, db_out = a.db;
  T* dx0 = a.dx.defined() ? dx_out.data<T>() : nullptr;
  const T inv_c = T(1) / static_cast<T>(c), beta = static_cast<T>(a.beta_dx);
  const std::int64_t grain = row_grain(c), chunks = chunk_count(n, grain);
  // Each chunk of rows sums its dw and db into a row of its own; the rows are added in order.
  const bool sums = a.dw.defined() || a.db.defined();
  Tensor partial = sums ? Tensor::empty({chunks, 2 * c}, a.x.dtype()) : Tensor();
  T* partial_data = sums ? partial.data<T>() : nullptr;
  parallel_for(n, grain, [&](std::int64_t begin, std::int64_t end) {
    const T* gain = w;  // GCC gathers through a captured pointer
    T* dw = sums ? partial_data + begin / grain * 2 * c : nullptr;
    T* db = sums ? dw + c : nullptr;
    if (sums) std::fill(dw, dw + 2 * c, T(0));
    for (std::int64_t r = begin; r < end; ++r) {
      const T *x = x0 + r * c, *dy = dy0 + r * c;
      const T mu = mean ? mean[r] : T(0), rs = rstd[r];
      if (sums) {
#pragma omp simd
        for (std::int64_t i = 0; i < c; ++i) {
          dw[i] += dy[i] * ((x[i] - mu) * rs);
          db[i] += dy[i];
        }
      }
      if (!dx0) continue;
      T sum_h = 0, sum_hx = 0;
#pragma omp simd reduction(+ : sum_h, sum_hx)
      for (std::int64_t i = 0; i < c; ++i) {
        const T h = dy[i] * gain[i];
        sum_h += h;
        sum_hx += h * ((x[i] - mu) * rs);
      }
      const T mean_h = mean ? sum_h * inv_c : T(0), mean_hx = sum_hx * inv_c;
      T* dx = dx0 + r * c;
      if (beta == T(0)) {
#pragma omp simd
        for (std::int64_t i = 0; i < c; ++i)
          dx[i] = rs * (dy[i] * gain[i] - mean_h - (x[i] - mu) * rs * mean_hx);
      } else {
#pragma omp simd
        for (std::int64_t i = 0; i < c; ++i)
          dx[i] += rs * (dy[i] * gain[i] - mean_h - (x[i] - mu) * rs * mean_hx);
      }
    }
  });
  const auto combine = [&](Tensor& out, std::int64_t offset, double out_beta) {
    T* d = out.data<T>();
    if (chunks == 0 && out_beta == 0) std::fill(d, d + c, T(0));
    for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
      const T* p = partial_data + chunk * 2 * c + offset;
      const bool assign = chunk == 0 && out_beta == 0;
      for (std::int64_t i = 0; i < c; ++i) d[i] = assign ? p[i] : d[i] + p[i];
    }
  };
  if (a.dw.defined()) combine(dw_out, 0, a.beta_dw);
  if (a.db.defined()) combine(db_out, c, a.beta_db);
}

template <class T>
void column_sum_typed(const ColumnSumArgs& a) {
  const std::int64_t n = a.src.shape().rows(), c = a.src.shape()[-1];
  const T* src = a.src.data<T>();
  Tensor out = a.dst;
  T* dst = out.data<T>();
  constexpr std::int64_t kColumns = 64;
  parallel_for(c, kColumns, [&](std::int64_t begin, std::int64_t end) {
    T sum[kColumns] = {};
    const std::int64_t width = end - begin;
    for (std::int64_t r = 0; r < n; ++r)
      for (std::int64_t i = 0; i < width; ++i) sum[i] += src[r * c + begin + i];
    for (std::int64_t i = 0; i < width; ++i)
      dst[begin + i] = a.beta == 0 ? sum[i] : dst[begin + i] + sum[i];
  });
}

}  // namespace

void CpuBackend::norm(const NormArgs& a) {
  with_type(a.x, [&](auto zero) { norm_typed<decltype(zero)>(a); });
}

void CpuBackend::norm_backward(const NormBackwardArgs& a) {
  with_type(a.x, [&](auto zero) { norm_backward_typed<decltype(zero)>(a); });
}

void CpuBackend::column_sum(const ColumnSumArgs& a) {
  with_type(a.src, [&](auto zero) { column_sum_typed<decltype(zero)>(a); });
}

}  // namespace muonlab::cpu

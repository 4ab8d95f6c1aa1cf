// The formulas are those of core/cpu/norm.cpp. One warp a row.
#include "cuda/columns.cuh"
#include "cuda/cuda_backend.h"
#include "cuda/device.cuh"

namespace muonlab::cuda {
namespace kern {

constexpr int kRows = 8;  // of a block

/// mean null: RMSNorm. b may be null.
template <class T>
__global__ void __launch_bounds__(kRows* kWarp)
    norm(const T* __restrict__ x, const float* __restrict__ w, const float* __restrict__ b,
         T* __restrict__ y, float* __restrict__ mean, float* __restrict__ rstd, float eps,
         std::int64_t rows, std::int64_t columns) {
  const std::int64_t row = global_index() / kWarp;
  const int lane = static_cast<int>(threadIdx.x % kWarp);
  if (row >= rows) return;
  x += row * columns;
  y += row * columns;
  const auto count = static_cast<float>(columns);
  float first = 0;
  if (mean) {
    for (std::int64_t i = lane; i < columns; i += kWarp) first += static_cast<float>(x[i]);
    first = warp_reduce(first, Add{}) / count;
  }
  // What the first mean misses is found on the way to the variance.
  float rest = 0, square = 0;
  for (std::int64_t i = lane; i < columns; i += kWarp) {
    const float d = static_cast<float>(x[i]) - first;
    rest += d;
    square += d * d;
  }
  const float missed = mean ? warp_reduce(rest, Add{}) / count : 0;
  const float mu = first + missed;
  const float variance = warp_reduce(square, Add{}) / count - missed * missed;
  const float rs = 1.0f / sqrtf(variance + eps);
  if (lane == 0) {
    if (mean) mean[row] = mu;
    rstd[row] = rs;
  }
  for (std::int64_t i = lane; i < columns; i += kWarp)
    y[i] = static_cast<T>((static_cast<float>(x[i]) - mu) * rs * w[i] + (b ? b[i] : 0.0f));
}

/// dx = beta dx + rstd (h - mean(h) - xhat mean(h xhat)), h = dy w. mean null: without mean(h).
template <class T>
__global__ void __launch_bounds__(kRows* kWarp)
    norm_backward(const T* __restrict__ x, const float* __restrict__ w,
                  const float* __restrict__ mean, const float* __restrict__ rstd,
                  const T* __restrict__ dy, T* __restrict__ dx, float beta, std::int64_t rows,
                  std::int64_t columns) {
  const std::int64_t row = global_index() / kWarp;
  const int lane = static_cast<int>(threadIdx.x % kWarp);
  if (row >= rows) return;
  x += row * columns;
  dy += row * columns;
  dx += row * columns;
  const float mu = mean ? mean[row] : 0, rs = rstd[row];
  float sum_h = 0, sum_hx = 0;
  for (std::int64_t i = lane; i < columns; i += kWarp) {
    const float h = static_cast<float>(dy[i]) * w[i];
    sum_h += h;
    sum_hx += h * ((static_cast<float>(x[i]) - mu) * rs);
  }
  const auto count = static_cast<float>(columns);
  const float mean_h = mean ? warp_reduce(sum_h, Add{}) / count : 0;
  const float mean_hx = warp_reduce(sum_hx, Add{}) / count;
  for (std::int64_t i = lane; i < columns; i += kWarp) {
    const float h = static_cast<float>(dy[i]) * w[i];
    const float xhat = (static_cast<float>(x[i]) - mu) * rs;
    const float value = rs * (h - mean_h - xhat * mean_hx);
    dx[i] = static_cast<T>(beta == 0 ? value : beta * static_cast<float>(dx[i]) + value);
  }
}

/// The terms of dw = sum dy xhat and db = sum dy.
template <class T>
struct NormTerms {
  const T *x, *dy;
  const float *mean, *rstd;
  std::int64_t columns;
  __device__ __forceinline__ void operator()(std::int64_t row, std::int64_t column,
                                             float (&sum)[2]) const {
    const std::int64_t i = row * columns + column;
    const float mu = mean ? mean[row] : 0;
    const auto gradient = static_cast<float>(dy[i]);
    sum[0] += gradient * ((static_cast<float>(x[i]) - mu) * rstd[row]);
    sum[1] += gradient;
  }
};

}  // namespace kern

void CudaBackend::norm(const NormArgs& a) {
  const std::int64_t rows = a.x.shape().rows(), columns = a.x.shape()[-1];
  with_type(a.x, [&]<class T>(T) {
    launch(kern::norm<T>, divide_up(rows, kern::kRows), kern::kRows * kWarp, 0, stream_.get(),
           elements<T>(a.x), f32(a.w), f32(a.b), elements<T>(a.y), f32(a.mean), f32(a.rstd),
           static_cast<float>(a.eps), rows, columns);
  });
}

void CudaBackend::norm_backward(const NormBackwardArgs& a) {
  const std::int64_t rows = a.x.shape().rows(), columns = a.x.shape()[-1];
  with_type(a.x, [&]<class T>(T) {
    if (a.dx.defined())
      launch(kern::norm_backward<T>, divide_up(rows, kern::kRows), kern::kRows * kWarp, 0,
             stream_.get(), elements<T>(a.x), f32(a.w), f32(a.mean), f32(a.rstd), elements<T>(a.dy),
             elements<T>(a.dx), static_cast<float>(a.beta_dx), rows, columns);
    if (!a.dw.defined() && !a.db.defined()) return;
    const kern::NormTerms<T> terms{elements<T>(a.x), elements<T>(a.dy), f32(a.mean), f32(a.rstd),
                                   columns};
    const ColumnSums<2> sums(allocator(), stream_.get(), terms, rows, columns);
    if (a.dw.defined()) sums.add_to(f32(a.dw), 0, a.beta_dw);
    if (a.db.defined()) sums.add_to(f32(a.db), 1, a.beta_db);
  });
}

}  // namespace muonlab::cuda

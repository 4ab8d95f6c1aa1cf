#include "optim/steps/rows.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "core/math.h"

namespace muonlab {
namespace {

using math::Op;

Tensor like(const Tensor& x, Shape shape) { return Tensor::empty(shape, x.dtype(), x.device()); }

Tensor ones(const Tensor& x, Shape shape) {
  Tensor t = like(x, shape);
  t.fill(1);
  return t;
}

Tensor mapped(const Tensor& x, const std::function<Lane(const Lane&)>& f) {
  Tensor y = like(x, x.shape());
  on_elements({y, x}, [&](std::span<Lane> l) { l[0] = f(l[1]); });
  return y;
}

/// Row i is 1 in column columns[i], and 0 elsewhere.
Tensor unit_rows(std::span<const std::int64_t> columns, std::int64_t n, DType dtype,
                 Device device) {
  Tensor all = Tensor::zeros({static_cast<std::int64_t>(columns.size()), n}, dtype);
  const auto fill = [&](auto* row) {
    for (const std::int64_t column : columns) {
      row[column] = 1;
      row += n;
    }
  };
  if (dtype == DType::f64)
    fill(all.data<double>());
  else
    fill(all.data<float>());
  return all.to(device);
}

}  // namespace

void on_elements(std::initializer_list<Tensor> columns,
                 const std::function<void(std::span<Lane>)>& f) {
  ElementwiseBuilder program;
  std::vector<Lane> lanes;
  const auto n = static_cast<int>(columns.size());
  for (int k = 0; k < n; ++k) lanes.push_back(program.column(k));
  f(lanes);
  for (int k = 0; k < n; ++k) {
    const Lane& lane = lanes[static_cast<std::size_t>(k)];
    if (!ElementwiseBuilder::is_column(lane, k)) program.store(k, lane);
  }
  const ElementRow row{columns};
  math::elementwise(program.program(), {&row, 1});
}

Tensor row_sums(const Tensor& x, const std::function<Lane(const Lane&)>& f) {
  Tensor sums = like(x, {x.shape()[0], 1});
  math::gemm(sums, mapped(x, f), Op::plain, ones(x, {x.shape()[1], 1}), Op::plain);
  return sums;
}

Tensor column_sums(const Tensor& x, const std::function<Lane(const Lane&)>& f) {
  Tensor sums = like(x, {1, x.shape()[1]});
  math::gemm(sums, ones(x, {1, x.shape()[0]}), Op::plain, mapped(x, f), Op::plain);
  return sums;
}

void scale_rows(const Tensor& x, const Tensor& s) {
  on_elements({x, outer(s, ones(x, {1, x.shape()[1]}))},
              [](std::span<Lane> l) { l[0] = l[0] * l[1]; });
}

void scale_columns(const Tensor& x, const Tensor& s) {
  on_elements({x, outer(ones(x, {x.shape()[0], 1}), s.reshape({1, x.shape()[1]}))},
              [](std::span<Lane> l) { l[0] = l[0] * l[1]; });
}

Tensor outer(const Tensor& a, const Tensor& b) {
  Tensor full = like(a, {a.shape()[0], b.shape()[1]});
  math::gemm(full, a, Op::plain, b, Op::plain);
  return full;
}

Tensor identities(std::int64_t n, std::int64_t size, DType dtype, Device device) {
  std::vector<std::int64_t> columns;
  for (std::int64_t i = 0; i < n * size; ++i) columns.push_back(i % size);
  return unit_rows(columns, size, dtype, device).reshape({n, size, size});
}

Tensor largest_first(const Tensor& numbers, std::int64_t count) {
  const std::vector<double> values = numbers.to_vector();
  std::vector<std::int64_t> order(values.size());
  std::iota(order.begin(), order.end(), std::int64_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    return values[static_cast<std::size_t>(a)] > values[static_cast<std::size_t>(b)];
  });
  order.resize(static_cast<std::size_t>(count));
  return unit_rows(order, numbers.numel(), numbers.dtype(), numbers.device());
}

}  // namespace muonlab

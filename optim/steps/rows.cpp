#include "optim/steps/rows.h"

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
  Tensor all = Tensor::zeros({n, size, size}, dtype);
  const auto fill = [&](auto* x) {
    for (std::int64_t i = 0; i < n * size; ++i) x[i * size + i % size] = 1;
  };
  dtype == DType::f64 ? fill(all.data<double>()) : fill(all.data<float>());
  return all.to(device);
}

}  // namespace muonlab

// With A = X X^T and B = b A + c A^2:  X <- a X + B X.  As A has the size of the smaller side, a
// tall X uses A = X^T X and X <- a X + X B instead, which is the same polynomial: nothing is
// transposed. A and B are symmetric, so their products cost half.
#include "optim/steps/newton_schulz.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "core/backend.h"
#include "core/math.h"

namespace muonlab {
namespace {

using math::Op;

// x: (n, rows, cols), each matrix with singular values of at most 1.
void iterate(Tensor& x, std::span<const Quintic> steps) {
  const std::int64_t n = x.shape()[0], rows = x.shape()[1], cols = x.shape()[2];
  const bool tall = rows >= cols;  // square: the transposed left operand is the cheaper product
  const Shape square{n, std::min(rows, cols), std::min(rows, cols)};
  Tensor a = Tensor::empty(square, x.dtype(), x.device());
  Tensor b = Tensor::empty(square, x.dtype(), x.device());
  Tensor next = Tensor::empty(x.shape(), x.dtype(), x.device());
  for (const Quintic& q : steps) {
    math::gemm(a, x, tall ? Op::transposed : Op::plain, x, tall ? Op::plain : Op::transposed, 1, 0,
               true);
    math::axpby(b, q.b, a, 0);
    math::gemm(b, a, Op::plain, a, Op::plain, q.c, 1, true);
    math::axpby(next, q.a, x, 0);
    math::gemm(next, tall ? x : b, Op::plain, tall ? b : x, Op::plain, 1, 1);
    std::swap(x, next);
  }
}

}  // namespace

void newton_schulz(std::span<Tensor> matrices, std::span<const Quintic> steps, double eps) {
  std::map<std::pair<std::int64_t, std::int64_t>, std::vector<Tensor*>> by_shape;
  for (Tensor& m : matrices) by_shape[{m.shape()[0], m.shape()[1]}].push_back(&m);

  for (auto& entry : by_shape) {
    const std::vector<Tensor*>& batch = entry.second;
    const Tensor& first = *batch[0];
    const Shape one = first.shape();
    const auto n = static_cast<std::int64_t>(batch.size());
    Tensor x = Tensor::empty({n, one[0], one[1]}, first.dtype(), first.device());
    const auto member = [&](std::int64_t i) { return x.slice(i, i + 1).reshape(one); };
    Backend& backend = backend_of(first.device());
    backend.for_each(n, [&](std::int64_t i) {
      const Tensor& g = *batch[static_cast<std::size_t>(i)];
      Tensor normalised = member(i);
      math::axpby(normalised, 1 / std::max(math::norm(g), eps), g, 0);
    });
    iterate(x, steps);
    backend.for_each(
        n, [&](std::int64_t i) { batch[static_cast<std::size_t>(i)]->copy_from(member(i)); });
  }
}

}  // namespace muonlab

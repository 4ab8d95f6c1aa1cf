#include "core/ops/norm.h"

#include <cmath>

#include "core/ops/elementwise.h"
#include "tests/support/array.h"
#include "tests/support/catch.h"
#include "tests/support/close.h"
#include "tests/support/op_case.h"

using namespace muonlab;
using namespace muonlab::test;

// What the list of op cases cannot say: identities, and sizes at which everything cancels.

TEST_CASE("layer_norm of one channel is its bias, and passes no gradient on", "[norm]") {
  const Var x = Var::leaf(normal_array(Shape{7, 1}, "x").tensor(DType::f32));
  const Var w = Var::leaf(normal_array(Shape{1}, "w").tensor(DType::f32));
  const Var b = Var::leaf(normal_array(Shape{1}, "b").tensor(DType::f32));
  Tape tape;
  Recording recording(tape);
  const Var y = layer_norm(x, w, b);
  for (double v : y.value().to_vector()) CHECK(v == b.value().item());
  tape.backward(weighted_sum(y, "one channel"));
  // Each element is rstd (h - mean h), with rstd = 1 / sqrt(eps) = 316 and h of order 1.
  for (double g : x.grad().to_vector()) CHECK(std::abs(g) < 316 * 4 * epsilon(DType::f32));
}

TEST_CASE("rows of a layer_norm gradient sum to zero", "[norm]") {
  // The output does not change when a constant is added to a row.
  const std::int64_t rows = 5, c = 37;
  const Var x = Var::leaf(normal_array(Shape{rows, c}, "x").tensor(DType::f64));
  const Var w = Var::leaf(normal_array(Shape{c}, "w").tensor(DType::f64));
  Tape tape;
  Recording recording(tape);
  tape.backward(weighted_sum(layer_norm(x, w), "rows"));
  const Array g(x.grad());
  for (std::int64_t r = 0; r < rows; ++r) {
    double sum = 0;
    for (std::int64_t i = 0; i < c; ++i) sum += g[r * c + i];
    CHECK(std::abs(sum) < tolerance(DType::f64, c) * rms(g) * std::sqrt(static_cast<double>(c)));
  }
}

TEST_CASE("rms_norm ignores the length of a row, layer_norm its offset too", "[norm]") {
  const Array x = normal_array(Shape{4, 32}, "x");
  const Tensor w = normal_array(Shape{32}, "w").tensor(DType::f64);
  Array longer = x, shifted = x;
  for (double& v : longer.values) v *= 1000;
  for (double& v : shifted.values) v = 1000 * v + 5000;
  // eps = 1e-5 beside a variance of 1: a relative change of 5e-6 in the unscaled rows.
  const Array want_rms(rms_norm(x.tensor(DType::f64), w).value());
  CHECK(relative_error(Array(rms_norm(longer.tensor(DType::f64), w).value()), want_rms) < 2e-5);
  const Array want_layer(layer_norm(x.tensor(DType::f64), w).value());
  CHECK(relative_error(Array(layer_norm(shifted.tensor(DType::f64), w).value()), want_layer) <
        2e-5);
}

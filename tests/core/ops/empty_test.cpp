#include <functional>

#include "core/error.h"
#include "core/ops/attention.h"
#include "core/ops/elementwise.h"
#include "core/ops/embedding.h"
#include "core/ops/linear.h"
#include "core/ops/norm.h"
#include "tests/support/catch.h"
#include "tests/support/op_case.h"

using namespace muonlab;
using namespace muonlab::test;

TEST_CASE("a size of zero is a size: nothing is computed and nothing fails", "[ops]") {
  const auto leaf = [](Shape shape) { return Var::leaf(Tensor::zeros(shape)); };
  const auto ids = [](Shape shape) { return Tensor::zeros(shape, DType::i32); };
  const Var w = leaf({3, 4});
  const std::function<Var()> calls[] = {[&] {
                                          return linear(leaf({0, 4}), w, leaf({3}));
                                        },
                                        [&] {
                                          return linear(leaf({0, 4}), w, {}, Activation::gelu);
                                        },
                                        [&] {
                                          return linear(leaf({2, 4}), leaf({0, 4}));
                                        },
                                        [&] {
                                          return linear(leaf({2, 0}), leaf({3, 0}));
                                        },
                                        [&] {
                                          return layer_norm(leaf({0, 4}), leaf({4}), leaf({4}));
                                        },
                                        [&] {
                                          return rms_norm(leaf({3, 0}), leaf({0}));
                                        },
                                        [&] {
                                          return embedding(ids({2, 0}), w, leaf({5, 4}));
                                        },
                                        [&] {
                                          return embedding(ids({2, 1}), leaf({3, 0}));
                                        },
                                        [&] {
                                          return causal_attention(leaf({2, 0, 12}), {1, 1, 4});
                                        },
                                        [&] {
                                          return causal_attention(leaf({0, 3, 12}), {1, 1, 4});
                                        },
                                        [&] { return add(leaf({0}), leaf({0})); },
                                        [&] { return activate(leaf({0}), Activation::silu); }};
  for (std::size_t i = 0; i < std::size(calls); ++i) {
    INFO("call " << i);
    Tape tape;
    Recording recording(tape);
    CHECK_NOTHROW(tape.backward(weighted_sum(calls[i](), "empty")));
  }
  // No row has contributed to this weight.
  for (double g : w.grad().to_vector()) CHECK(g == 0);
}

TEST_CASE("an empty handle is refused by name", "[ops]") {
  const Var x = Var::leaf(Tensor::zeros({2}));
  CHECK_THROWS_AS(add(Var(), Var()), ShapeError);
  CHECK_THROWS_AS(add(x, Var()), ShapeError);
  CHECK_THROWS_AS(mul(Var(), x), ShapeError);
  CHECK_THROWS_AS(scale(Var(), 2), ShapeError);
  CHECK_THROWS_AS(activate(Var(), Activation::gelu), ShapeError);
  CHECK_THROWS_AS(dropout(Var(), 0.5, 1, 1), ShapeError);
  CHECK_THROWS_AS(linear(Var(), x), ShapeError);
  CHECK_THROWS_AS(layer_norm(Var(), x), ShapeError);
  CHECK_THROWS_AS(causal_attention(Var(), {1, 1, 4}), ShapeError);
}

TEST_CASE("without rows the gradients of a norm are zero, not what was in memory", "[ops]") {
  const Var w = Var::leaf(Tensor::empty({4})), b = Var::leaf(Tensor::empty({4}));
  for (const Var& v : {w, b}) {
    v.slot()->grad = Tensor::empty({4});
    v.slot()->grad.fill(7);
  }
  Tape tape;
  Recording recording(tape);
  tape.backward(weighted_sum(layer_norm(Var::leaf(Tensor::zeros({0, 4})), w, b), "empty"));
  for (const Var& v : {w, b})
    for (double g : v.grad().to_vector()) CHECK(g == 0);
}

TEST_CASE("one value in two places of a primitive collects both gradients", "[ops]") {
  // The gain and the bias of a norm are one and the same intermediate value.
  const auto gradient = [](bool same) {
    const Var x = Var::leaf(Tensor::from<double>({2, 3}, std::vector<double>{1, 2, 4, -1, 0, 3}));
    const Var h = Var::leaf(Tensor::from<double>({3}, std::vector<double>{0.5, -1, 2}));
    Tape tape;
    Recording recording(tape);
    const Var gain = scale(h, 1), bias = same ? gain : scale(h, 1);
    tape.backward(weighted_sum(layer_norm(x, gain, bias), "twice"));
    return h.grad().to_vector();
  };
  const auto once = gradient(true), apart = gradient(false);
  for (std::size_t i = 0; i < 3; ++i) CHECK(once[i] == Approx(apart[i]).epsilon(1e-12));
}

TEST_CASE("a cache of another type is refused", "[ops]") {
  Tensor cache = Tensor::zeros({1, 4, 8});
  CHECK_THROWS_AS(cached_attention(Tensor::zeros({1, 1, 12}, DType::f64), {1, 1, 4}, cache, 0),
                  DtypeError);
}

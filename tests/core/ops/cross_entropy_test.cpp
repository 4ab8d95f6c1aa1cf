#include "core/ops/cross_entropy.h"

#include <cmath>
#include <limits>

#include "core/error.h"
#include "core/ops/elementwise.h"
#include "core/ops/embedding.h"
#include "tests/support/array.h"
#include "tests/support/catch.h"
#include "tests/support/close.h"

using namespace muonlab;
using namespace muonlab::test;

TEST_CASE("equal logits cost the logarithm of the vocabulary", "[cross_entropy]") {
  for (std::int64_t vocab : {1, 2, 65, 50257}) {
    Tensor logits = Tensor::empty({3, vocab});
    logits.fill(-7);
    const double loss =
        softmax_cross_entropy(logits, random_ids(Shape{3}, vocab, "targets")).value().item();
    INFO("vocabulary " << vocab);
    CHECK(loss == Approx(std::log(static_cast<double>(vocab))).epsilon(1e-6).margin(1e-6));
  }
}

TEST_CASE("logits of any size give a finite loss", "[cross_entropy]") {
  const float values[] = {1e4f, -1e4f, 0, 3e38f, -3e38f, 1};
  const Tensor logits = Tensor::from<float>({2, 3}, values);
  const std::int32_t sure[] = {0, 0};
  CHECK(softmax_cross_entropy(logits, Tensor::from<std::int32_t>({2}, sure)).value().item() == 0);
  const std::int32_t wrong[] = {1, 0};
  CHECK(softmax_cross_entropy(logits, Tensor::from<std::int32_t>({2}, wrong)).value().item() ==
        Approx(1e4));
}

TEST_CASE("a logit that is not a number reaches the loss", "[cross_entropy]") {
  for (std::int64_t at : {0, 1, 16, 39}) {
    Array logits = normal_array(Shape{1, 40}, "logits");
    logits[at] = std::nan("");
    const Tensor target = Tensor::zeros({1}, DType::i32);
    CHECK(std::isnan(softmax_cross_entropy(logits.tensor(DType::f32), target).value().item()));
  }
}

TEST_CASE("rows of the gradient sum to zero", "[cross_entropy]") {
  const Var logits = Var::leaf(normal_array(Shape{5, 33}, "logits").tensor(DType::f64));
  Tape tape;
  Recording recording(tape);
  tape.backward(softmax_cross_entropy(logits, random_ids(Shape{5}, 33, "targets")));
  const Array g(logits.grad());
  for (std::int64_t r = 0; r < 5; ++r) {
    double sum = 0;
    for (std::int64_t i = 0; i < 33; ++i) sum += g[r * 33 + i];
    CHECK(std::abs(sum) < tolerance(DType::f64, 33) * rms(g) * 33);
  }
}

TEST_CASE("ids outside the vocabulary are refused, naming the value",
          "[cross_entropy][embedding]") {
  for (std::int32_t bad : {-1, 5, std::numeric_limits<std::int32_t>::min()}) {
    const std::int32_t values[] = {0, bad, 4};
    const Tensor ids = Tensor::from<std::int32_t>({3}, values);
    for (bool targets : {true, false}) {
      std::string message = "nothing was thrown";
      try {
        if (targets)
          softmax_cross_entropy(Tensor::zeros({3, 5}), ids);
        else
          embedding(ids.reshape({1, 3}), Tensor::zeros({5, 2}));
      } catch (const Error& e) {
        message = e.what();
      }
      INFO(message);
      CHECK(message.find(std::to_string(bad)) != std::string::npos);
      CHECK(message.find(targets ? "[softmax_cross_entropy]" : "[embedding]") == 0);
    }
  }
}

TEST_CASE("dropout refuses shares outside [0, 1)", "[dropout]") {
  const Var x = Tensor::zeros({4});
  for (double p : {-0.1, 1.0, 2.0, std::nan("")}) CHECK_THROWS_AS(dropout(x, p, 1, 1), ConfigError);
  CHECK_NOTHROW(dropout(x, 0, 1, 1));
}

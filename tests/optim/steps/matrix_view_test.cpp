#include "optim/steps/matrix_view.h"

#include "core/error.h"
#include "optim/steps/shape_scale.h"
#include "tests/optim/optim_cases.h"
#include "tests/support/catch.h"

using namespace muonlab;
using namespace muonlab::testing;

namespace {

ParamInfo weight(Shape shape, std::vector<Block> blocks = {}) {
  return {"w", ParamKind::matrix, shape, std::move(blocks), ""};
}

}  // namespace

TEST_CASE("a weight without blocks is one matrix") {
  const MatrixView view(weight({3, 2}));
  CHECK(view.str() == "(3, 2)");
  const std::vector<Tensor> parts = view.split(tensor_of({3, 2}, {1, 2, 3, 4, 5, 6}));
  REQUIRE(parts.size() == 1);
  CHECK(parts[0].to_vector() == Values{1, 2, 3, 4, 5, 6});
}

TEST_CASE("blocks of rows are matrices that share the weight's storage") {
  const MatrixView view(weight({4, 2}, {{0, 2, "q"}, {2, 3, "k"}, {3, 4, "v"}}));
  CHECK(view.str() == "(2, 2) + 2 x (1, 2)");
  const Tensor whole = tensor_of({4, 2}, {1, 2, 3, 4, 5, 6, 7, 8});
  std::vector<Tensor> parts = view.split(whole);
  REQUIRE(parts.size() == 3);
  CHECK(parts[0].shape() == Shape{2, 2});
  CHECK(parts[1].to_vector() == Values{5, 6});
  parts[2].fill(0);
  CHECK(whole.to_vector() == Values{1, 2, 3, 4, 5, 6, 0, 0});
}

TEST_CASE("a stack is split into the blocks of each of its matrices") {
  const MatrixView view(weight({2, 3, 1}, {{0, 1, "gate"}, {1, 3, "up"}}));
  CHECK(view.str() == "(1, 1) + (2, 1) + (1, 1) + (2, 1)");
  const std::vector<Tensor> parts = view.split(tensor_of({2, 3, 1}, {1, 2, 3, 4, 5, 6}));
  REQUIRE(parts.size() == 4);
  CHECK(parts[1].to_vector() == Values{2, 3});
  CHECK(parts[2].to_vector() == Values{4});
  CHECK(MatrixView(weight({5, 2, 3})).str() == "5 x (2, 3)");
}

TEST_CASE("what is not made of matrices is refused") {
  CHECK_THROWS_AS(MatrixView(weight({4})), ConfigError);
  CHECK_THROWS_AS(MatrixView(weight({})), ConfigError);
  CHECK_THROWS_AS(MatrixView(weight({4, 2, 3, 3})), ConfigError);
  CHECK_THROWS_AS(MatrixView(weight({4, 2}, {{0, 2, "q"}})), ConfigError);               // short
  CHECK_THROWS_AS(MatrixView(weight({4, 2}, {{0, 2, "q"}, {3, 4, "k"}})), ConfigError);  // gap
  CHECK_THROWS_AS(MatrixView(weight({4, 2}, {{0, 3, "q"}, {2, 4, "k"}})), ConfigError);  // overlap
  CHECK_THROWS_AS(MatrixView(weight({4, 2}, {{0, 2, "q"}, {2, 5, "k"}})), ConfigError);  // beyond
  CHECK_THROWS_AS(MatrixView(weight({4, 2}, {{0, 0, "q"}, {0, 4, "k"}})), ConfigError);  // empty
}

TEST_CASE("shape scales") {
  CHECK(shape_scale(ShapeScale::rms, {128, 512}, 0.2) == Approx(0.2 * std::sqrt(512.0)));
  CHECK(shape_scale(ShapeScale::rms, {512, 128}, 0.3) == Approx(0.3 * std::sqrt(512.0)));
  CHECK(shape_scale(ShapeScale::spectral, {128, 512}, 0.2) == 1);
  CHECK(shape_scale(ShapeScale::spectral, {512, 128}, 0.2) == Approx(2));
}

#include "optim/steps/matrix_view.h"

#include "core/error.h"
#include "nn/gpt.h"
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

TEST_CASE("a packed weight splits into nothing, blocks, or heads") {
  const ParamInfo info{
      "qkv", ParamKind::matrix, {16, 6}, {{0, 8, "q", 4}, {8, 12, "k", 2}, {12, 16, "v", 2}}, ""};
  CHECK(MatrixView(info, Split::none).str() == "(16, 6)");
  CHECK(MatrixView(info).str() == "(8, 6) + 2 x (4, 6)");
  CHECK(MatrixView(info, Split::head).str() == "8 x (2, 6)");
  CHECK(MatrixView(info, Split::head).shapes() == std::vector<Shape>(8, Shape{2, 6}));
  ParamInfo uneven = info;
  uneven.blocks[0].heads = 3;
  CHECK_NOTHROW(MatrixView(uneven));
  CHECK_THROWS_AS(MatrixView(uneven, Split::head), ConfigError);
}

TEST_CASE("the attention layer says how many heads its blocks have") {
  GptConfig config;
  config.n_layer = 1;
  config.n_head = 4;
  config.n_kv_head = 2;
  config.n_embd = 32;
  config.block_size = 8;
  config.vocab_size = 10;
  bool found = false;
  for (const Parameter& p : Gpt(config, 1).parameters())
    if (!p.info.blocks.empty()) {
      found = true;
      CHECK(MatrixView(p.info, Split::head).str() == "8 x (8, 32)");
    }
  CHECK(found);
}

#include "nn/init.h"

#include <cmath>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "nn/gpt.h"
#include "tests/support/array.h"
#include "tests/support/catch.h"
#include "tests/support/tiny_model.h"

using namespace muonlab;
using namespace muonlab::test;

namespace {

/// Sample mean and standard deviation agree with N(0, std^2) to five standard errors.
void check_normal(const Parameter& p, double std) {
  const Array a(p.value());
  const double n = static_cast<double>(a.numel());
  double mean = 0, square = 0;
  for (double x : a.values) mean += x / n;
  for (double x : a.values) square += (x - mean) * (x - mean) / n;
  INFO(p.info.name);
  CHECK(std::abs(mean) < 5 * std / std::sqrt(n));
  CHECK(std::abs(std::sqrt(square) / std - 1) < 5 / std::sqrt(2 * n));
}

GptConfig wide() {
  GptConfig c = tiny_config();
  c.n_layer = 3;
  c.n_embd = 128;
  c.block_size = 64;
  c.vocab_size = 300;
  c.bias = true;
  return c;
}

}  // namespace

TEST_CASE("initial weights are those of GPT-2", "[init]") {
  GptConfig config = wide();
  for (bool tied : {true, false}) {
    config.tied_head = tied;
    const Gpt model(config, 7);
    for (const Parameter& p : model.parameters()) {
      const std::string& name = p.info.name;
      const auto ends = [&](const std::string& tail) {
        return name.size() >= tail.size() &&
               name.compare(name.size() - tail.size(), tail.size(), tail) == 0;
      };
      INFO(name);
      if (p.info.kind == ParamKind::gain) {
        for (double x : p.value().to_vector()) CHECK(x == 1);
      } else if (p.info.kind == ParamKind::bias) {
        for (double x : p.value().to_vector()) CHECK(x == 0);
      } else {
        // What writes to the residual stream, twice a layer, is scaled down by sqrt(2 L).
        check_normal(p, ends("proj.weight") ? 0.02 / std::sqrt(2.0 * 3) : 0.02);
      }
    }
  }
}

TEST_CASE("a parameter's initial values depend on seed and name alone", "[init]") {
  GptConfig config = wide();
  const Gpt model(config, 7), again(config, 7), other(config, 8);
  config.n_layer = 1;
  config.bias = false;
  const Gpt smaller(config, 7);
  std::map<std::string, Tensor> values;
  for (const Parameter& p : model.parameters()) values[p.info.name] = p.value();
  for (const Parameter& p : again.parameters()) CHECK(same_bits(values[p.info.name], p.value()));
  for (const Parameter& p : other.parameters())
    if (p.info.shape.rank() == 2) CHECK(!same_bits(values[p.info.name], p.value()));
  CHECK(same_bits(values["wte.weight"], smaller.embedding.token.value()));
  CHECK(same_bits(values["blocks.0.attn.qkv.weight"], smaller.blocks[0].attn.qkv.weight.value()));
  // No two of them share numbers.
  CHECK(model.blocks[0].mlp.fc.weight.value().to_vector() !=
        model.blocks[1].mlp.fc.weight.value().to_vector());
  // An f64 model has the same weights.
  config = wide();
  const Gpt exact(config, 7, DType::f64);
  CHECK(Array(exact.embedding.token.value()).values == Array(model.embedding.token.value()).values);
}

TEST_CASE("parameters say what they are", "[init]") {
  GptConfig config = tiny_config();  // 16 wide, heads of size 4
  config.n_layer = 1;
  config.n_kv_head = 2;
  config.bias = true;
  config.tied_head = false;
  struct Row {
    const char* name;
    ParamKind kind;
    Shape shape;
  };
  const Row rows[] = {{"wte.weight", ParamKind::embedding, {19, 16}},
                      {"wpe.weight", ParamKind::embedding, {12, 16}},
                      {"blocks.0.ln_1.weight", ParamKind::gain, {16}},
                      {"blocks.0.ln_1.bias", ParamKind::bias, {16}},
                      {"blocks.0.attn.qkv.weight", ParamKind::matrix, {32, 16}},
                      {"blocks.0.attn.qkv.bias", ParamKind::bias, {32}},
                      {"blocks.0.attn.proj.weight", ParamKind::matrix, {16, 16}},
                      {"blocks.0.attn.proj.bias", ParamKind::bias, {16}},
                      {"blocks.0.ln_2.weight", ParamKind::gain, {16}},
                      {"blocks.0.ln_2.bias", ParamKind::bias, {16}},
                      {"blocks.0.mlp.fc.weight", ParamKind::matrix, {64, 16}},
                      {"blocks.0.mlp.fc.bias", ParamKind::bias, {64}},
                      {"blocks.0.mlp.proj.weight", ParamKind::matrix, {16, 64}},
                      {"blocks.0.mlp.proj.bias", ParamKind::bias, {16}},
                      {"ln_f.weight", ParamKind::gain, {16}},
                      {"ln_f.bias", ParamKind::bias, {16}},
                      {"head.weight", ParamKind::head, {19, 16}}};
  const std::vector<Parameter> params = Gpt(config, 1).parameters();
  REQUIRE(params.size() == std::size(rows));
  for (std::size_t i = 0; i < params.size(); ++i) {
    const ParamInfo& info = params[i].info;
    INFO(info.name);
    CHECK(info.name == rows[i].name);
    CHECK(info.kind == rows[i].kind);
    CHECK(info.shape == rows[i].shape);
    CHECK(params[i].value().shape() == rows[i].shape);
    if (info.name != "blocks.0.attn.qkv.weight") {
      CHECK(info.blocks.empty());
      continue;
    }
    REQUIRE(info.blocks.size() == 3);
    const Block want[] = {{0, 16, "q"}, {16, 24, "k"}, {24, 32, "v"}};
    for (std::size_t b = 0; b < 3; ++b) {
      CHECK(info.blocks[b].begin == want[b].begin);
      CHECK(info.blocks[b].end == want[b].end);
      CHECK(info.blocks[b].role == want[b].role);
    }
  }
  config.tied_head = true;
  CHECK(Gpt(config, 1).parameters().size() == std::size(rows) - 1);
  CHECK(Gpt(config, 1).parameters()[0].info.note.find("tied") != std::string::npos);
}

TEST_CASE("GPT-2 has 124,439,808 parameters", "[init]") {
  GptConfig config;
  config.n_head = 12;
  config.n_embd = 768;
  config.bias = true;
  config.vocab_size = 1;
  config.block_size = 1;
  // The count is linear in layers, vocabulary and positions, so small models measure the slopes.
  const auto count = [&](std::int64_t layers) {
    config.n_layer = layers;
    return Gpt(config, 1).parameter_count();
  };
  const std::int64_t one = count(1), layer = count(2) - one;
  CHECK(layer == 12 * 768 * 768 + 13 * 768);
  CHECK(one + 11 * layer + (50257 - 1 + 1024 - 1) * 768 == 124439808);
}

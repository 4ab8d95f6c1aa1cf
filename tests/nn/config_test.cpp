#include "nn/config.h"

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "core/error.h"
#include "nn/gpt.h"
#include "tests/support/catch.h"
#include "tests/support/tiny_model.h"

using namespace muonlab;
using namespace muonlab::test;

TEST_CASE("configurations that cannot be are refused, naming the option", "[config]") {
  struct Case {
    std::function<void(GptConfig&)> spoil;
    const char* names;
  };
  const Case cases[] = {
      {[](GptConfig& c) { c.n_head = 3; }, "n_head"},
      {[](GptConfig& c) { c.n_kv_head = 3; }, "n_kv_head"},
      {[](GptConfig& c) { c.n_kv_head = 8; }, "n_kv_head"},
      {[](GptConfig& c) { c.n_head = 0; }, "n_head"},
      {[](GptConfig& c) { c.n_kv_head = -1; }, "n_kv_head"},
      {[](GptConfig& c) { c.n_embd = 0; }, "n_embd"},
      {[](GptConfig& c) { c.n_embd = -16; }, "n_embd"},
      {[](GptConfig& c) { c.n_layer = 0; }, "n_layer"},
      {[](GptConfig& c) { c.block_size = 0; }, "block_size"},
      {[](GptConfig& c) { c.vocab_size = 0; }, "vocabulary"},
      {[](GptConfig& c) { c.dropout = 1; }, "dropout"},
      {[](GptConfig& c) { c.dropout = -0.1; }, "dropout"},
      {[](GptConfig& c) { c.dropout = std::nan(""); }, "dropout"},
  };
  CHECK_NOTHROW(validate(tiny_config()));
  for (const Case& k : cases) {
    GptConfig c = tiny_config();
    k.spoil(c);
    std::string message = "nothing was thrown";
    try {
      validate(c);
    } catch (const ConfigError& e) {
      message = e.what();
    }
    INFO("expected " << k.names << "; got: " << message);
    CHECK(message.find(k.names) != std::string::npos);
    CHECK_THROWS_AS(Gpt(c, 1), ConfigError);
  }
}

TEST_CASE("every member of a configuration has an option that reads back", "[config]") {
  GptConfig config;
  OptionTable table = options(config);
  const std::vector<std::pair<std::string, std::string>> values = {
      {"n_layer", "3"},    {"n_head", "6"},        {"n_kv_head", "2"},
      {"n_embd", "48"},    {"block_size", "7"},    {"bias", "true"},
      {"dropout", "0.25"}, {"tied_head", "false"}, {"activation", "relu_squared"}};
  REQUIRE(table.size() == values.size());
  for (const auto& [name, value] : values) {
    INFO(name);
    bool found = false;
    for (const Option& o : table) {
      if (o.name != name) continue;
      found = true;
      CHECK(o.fallback != value);
      o.set(value);
      CHECK(o.get() == value);
    }
    CHECK(found);
  }
  CHECK(config.n_layer == 3);
  CHECK(config.n_head == 6);
  CHECK(config.kv_heads() == 2);
  CHECK(config.n_embd == 48);
  CHECK(config.head_size() == 8);
  CHECK(config.block_size == 7);
  CHECK(config.bias);
  CHECK(config.dropout == 0.25);
  CHECK(!config.tied_head);
  CHECK(config.activation == Activation::relu_squared);
}

#include "nn/gpt.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/backend.h"
#include "core/cpu/parallel.h"
#include "core/error.h"
#include "optim/optimizer.h"
#include "tests/support/catch.h"
#include "tests/support/close.h"
#include "tests/support/gradcheck.h"
#include "tests/support/tiny_model.h"

using namespace muonlab;
using namespace muonlab::test;

namespace {

/// The choices that change the computation, each on at least once.
std::map<std::string, GptConfig> variants() {
  std::map<std::string, GptConfig> out;
  out["plain"] = tiny_config();
  GptConfig c = tiny_config();
  c.bias = true;
  c.activation = Activation::gelu_tanh;
  out["bias"] = c;
  c = tiny_config();
  c.n_kv_head = 2;
  c.tied_head = false;
  c.activation = Activation::relu_squared;
  out["grouped heads, head of its own"] = c;
  c = tiny_config();
  c.n_layer = 1;
  c.n_kv_head = 1;
  c.bias = true;
  c.dropout = 0.3;
  c.activation = Activation::silu;
  out["one group, dropout"] = c;
  return out;
}

/// Terms of the longest sum in one layer of a model.
std::int64_t longest_sum(const GptConfig& c) { return std::max(4 * c.n_embd, c.vocab_size); }

/// Two models' results differ by the rounding of every layer: two sums in each half block, and the
/// head. Rounding of one layer is passed on by the next with a factor of order 1.
double model_tolerance(const GptConfig& c, DType dtype) {
  return static_cast<double>(4 * c.n_layer + 1) * tolerance(dtype, longest_sum(c));
}

OptimizerConfig adamw(double lr) {
  OptimizerConfig c;
  c.lr = c.aux_lr = lr;
  c.schedule.kind = ScheduleKind::constant;
  c.schedule.warmup = 0;
  return c;
}

}  // namespace

TEST_CASE("gradients of the whole model agree with finite differences", "[gpt][gradients]") {
  for (const auto& variant : variants()) {
    const std::string& name = variant.first;
    const GptConfig& config = variant.second;
    INFO(name);
    const Gpt model = tiny_model(config, DType::f64);
    const TinyBatch batch = tiny_batch(config, 2, name);
    // With dropout the masks are those of this step, in both passes.
    const Forward forward{.training = true, .seed = 3, .micro_batch = 5};
    const double at = forward_backward(model, batch, forward);
    const auto loss = [&] { return model.loss(batch.ids, batch.targets, forward).value().item(); };
    for (const Parameter& p : model.parameters()) {
      REQUIRE(p.grad().defined());
      check_gradient(p.info.name, loss, p.value(), p.grad(), 8, 4 * epsilon(DType::f64) * at);
    }
  }
}

TEST_CASE("a later token changes no earlier logit by a bit", "[gpt]") {
  for (const auto& variant : variants()) {
    const std::string& name = variant.first;
    const GptConfig& config = variant.second;
    INFO(name);
    const Gpt model = tiny_model(config, DType::f32);
    const TinyBatch batch = tiny_batch(config, 2, name);
    const Tensor before = model.logits(batch.ids, {}).value();
    const std::int64_t vocab = config.vocab_size;
    const auto row = [&](const Tensor& logits, std::int64_t b, std::int64_t t) {
      return logits.reshape({2 * config.block_size, vocab})
          .slice(b * config.block_size + t, b * config.block_size + t + 1);
    };
    for (std::int64_t changed = 0; changed < config.block_size; ++changed) {
      Tensor ids = batch.ids.clone();
      std::int32_t& id = ids.host<std::int32_t>()[static_cast<std::size_t>(changed)];
      id = (id + 1) % static_cast<std::int32_t>(vocab);
      const Tensor after = model.logits(ids, {}).value();
      for (std::int64_t t = 0; t < config.block_size; ++t) {
        INFO("token " << changed << " changed, logits at " << t);
        CHECK(same_bits(row(before, 0, t), row(after, 0, t)) == (t < changed));
        CHECK(same_bits(row(before, 1, t), row(after, 1, t)));  // another sequence
      }
    }
  }
}

TEST_CASE("decoding with a cache gives the logits of the full forward pass", "[gpt]") {
  for (const auto& variant : variants()) {
    const std::string& name = variant.first;
    const GptConfig& config = variant.second;
    for (DType dtype : {DType::f32, DType::f64}) {
      const Gpt model = tiny_model(config, dtype);
      const Tensor ids = tiny_batch(config, 2, name).ids;
      const std::int64_t time = config.block_size, vocab = config.vocab_size;
      const Array full(model.logits(ids, {}).value());
      const auto columns = [&](std::int64_t begin, std::int64_t end) {
        Tensor part = Tensor::empty({2, end - begin}, DType::i32);
        for (std::int64_t b = 0; b < 2; ++b)
          for (std::int64_t t = begin; t < end; ++t)
            part.host<std::int32_t>()[static_cast<std::size_t>(b * (end - begin) + t - begin)] =
                ids.host<std::int32_t>()[static_cast<std::size_t>(b * time + t)];
        return part;
      };
      // One by one; a prompt and then one by one; pieces of several lengths; all at once.
      const std::vector<std::vector<std::int64_t>> schedules = {
          std::vector<std::int64_t>(static_cast<std::size_t>(time), 1),
          {5, 1, 1, 1, 1, 1, 1, 1},
          {3, 4, 5},
          {time}};
      for (const auto& lengths : schedules) {
        KvCache cache = model.make_cache(2);
        std::int64_t at = 0;
        for (std::int64_t length : lengths) {
          const Array got(model.decode(columns(at, at + length), cache));
          at += length;
          INFO(name << " " << name_of(dtype) << " after position " << at);
          CHECK(cache.length == at);
          Array want(Shape{2, vocab});
          for (std::int64_t b = 0; b < 2; ++b)
            for (std::int64_t v = 0; v < vocab; ++v)
              want[b * vocab + v] = full[(b * time + at - 1) * vocab + v];
          CHECK(relative_error(got, want) <= model_tolerance(config, dtype));
        }
        REQUIRE(at == time);
        CHECK_THROWS_AS(model.decode(columns(0, 1), cache), ShapeError);
      }
    }
  }
}

TEST_CASE("the gradients of micro-batches add up to those of the whole batch", "[gpt]") {
  for (const auto& variant : variants()) {
    const std::string& name = variant.first;
    const GptConfig& config = variant.second;
    if (config.dropout > 0) continue;  // masks differ between the micro-batches
    for (DType dtype : {DType::f32, DType::f64}) {
      INFO(name << " " << name_of(dtype));
      const TinyBatch batch = tiny_batch(config, 4, name);
      const Gpt whole = tiny_model(config, dtype), parts = tiny_model(config, dtype);
      const double loss = forward_backward(whole, batch);
      double mean = 0;
      for (std::int64_t i = 0; i < 4; i += 2)
        mean +=
            0.5 * forward_backward(
                      parts, {batch.ids.slice(i, i + 2), batch.targets.slice(i, i + 2)}, {}, 0.5);
      CHECK(mean == Approx(loss).epsilon(tolerance(dtype, longest_sum(config))));
      const auto want = gradients(whole), got = gradients(parts);
      for (std::size_t i = 0; i < want.size(); ++i) {
        INFO(want[i].name);
        CHECK(relative_error(Array(got[i].tensor), Array(want[i].tensor)) <=
              model_tolerance(config, dtype));
      }
    }
  }
}

TEST_CASE("a tied head and the token embedding are one parameter", "[gpt]") {
  GptConfig config = tiny_config();
  const Gpt tied = tiny_model(config, DType::f64);
  config.tied_head = false;
  const Gpt untied = tiny_model(config, DType::f64);
  Parameter head = untied.parameters().back();
  REQUIRE(head.info.name == "head.weight");
  head.value().copy_from(untied.embedding.token.value());
  CHECK(untied.parameter_count() == tied.parameter_count() + config.vocab_size * config.n_embd);
  // With equal values the two models are the same function, and the tied gradient is the sum of the
  // two uses.
  const TinyBatch batch = tiny_batch(config, 2, "tied");
  CHECK(forward_backward(tied, batch) == forward_backward(untied, batch));
  Array want(untied.embedding.token.grad());
  const Array second(head.grad());
  for (std::int64_t i = 0; i < want.numel(); ++i) want[i] += second[i];
  CHECK(relative_error(Array(tied.embedding.token.grad()), want) <=
        tolerance(DType::f64, longest_sum(config)));
}

TEST_CASE("dropout acts in training alone, with new masks for every micro-batch", "[gpt]") {
  GptConfig config = tiny_config();
  const TinyBatch batch = tiny_batch(config, 2, "dropout");
  const Gpt without = tiny_model(config, DType::f32);
  config.dropout = 0.2;
  const Gpt with = tiny_model(config, DType::f32);
  const auto logits = [&](const Gpt& model, const Forward& forward) {
    return model.logits(batch.ids, forward).value();
  };
  const Tensor plain = logits(without, {});
  CHECK(same_bits(logits(with, {}), plain));
  const Tensor first = logits(with, {.training = true, .seed = 1, .micro_batch = 0});
  CHECK(!same_bits(first, plain));
  CHECK(same_bits(logits(with, {.training = true, .seed = 1, .micro_batch = 0}), first));
  CHECK(!same_bits(logits(with, {.training = true, .seed = 1, .micro_batch = 1}), first));
  CHECK(!same_bits(logits(with, {.training = true, .seed = 2, .micro_batch = 0}), first));
}

TEST_CASE("every place that drops has a mask of its own", "[gpt]") {
  // With attention and feed-forward silenced and two embeddings alike, what differs is the masks:
  // the two halves of a block must not drop the same elements.
  const Forward training{.training = true, .seed = 1, .micro_batch = 0};
  const Var x(normal_array(Shape{1, 400}, "x").tensor(DType::f32));
  const Tensor a = training.drop(x, 0.5, 0).value(), b = training.drop(x, 0.5, 1).value();
  CHECK(!same_bits(a, b));
  CHECK(same_bits(training.drop(x, 0, 0).value(), x.value()));
  const Forward next{.training = true, .seed = 1, .micro_batch = 1};
  CHECK(!same_bits(next.drop(x, 0.5, 0).value(), b));
}

TEST_CASE("in training a block drops attention probabilities and both its outputs", "[gpt]") {
  GptConfig config = tiny_config();
  config.dropout = 0.5;
  const Forward training{.training = true, .seed = 1, .micro_batch = 2};
  const Var x(normal_array(Shape{2, config.block_size, config.n_embd}, "x").tensor(DType::f32));
  const Gpt model = tiny_model(config, DType::f32);
  const TransformerBlock& block = model.blocks[0];

  // The layer by itself drops nothing but probabilities.
  const CausalSelfAttention& attn = block.attn;
  const Tensor dropped = attn(x, training, 1).value();
  CHECK(!same_bits(dropped, attn(x, {}, 1).value()));
  CHECK(same_bits(attn(x, training, 1).value(), dropped));
  CHECK(!same_bits(attn(x, training, 4).value(), dropped));

  // Which elements one branch leaves as they are while weights of zero silence the other.
  const auto unchanged = [&](Tensor silenced) {
    const Tensor kept = silenced.clone();
    silenced.fill(0);
    const Array y(block(x, training).value()), before(x.value());
    silenced.copy_from(kept);
    std::vector<bool> same;
    for (std::int64_t i = 0; i < y.numel(); ++i) same.push_back(y[i] == before[i]);
    return same;
  };
  const std::vector<bool> by_attention = unchanged(block.mlp.proj.weight.value());
  const std::vector<bool> by_mlp = unchanged(attn.proj.weight.value());
  for (const std::vector<bool>& mask : {by_attention, by_mlp}) {
    const auto n = static_cast<double>(mask.size());
    const auto dropped_count = static_cast<double>(std::count(mask.begin(), mask.end(), true));
    // Five standard deviations of a binomial count.
    CHECK(std::abs(dropped_count - 0.5 * n) < 5 * std::sqrt(0.25 * n));
  }
  CHECK(by_attention != by_mlp);
}

TEST_CASE("training steps have the same bits for 1, 2, 3 and 8 threads", "[gpt][threads]") {
  GptConfig config = tiny_config();
  config.n_embd = 96;  // several tiles in every product
  config.block_size = 70;
  config.vocab_size = 131;
  config.bias = true;
  config.dropout = 0.1;
  const int before = cpu::threads();
  for (const std::string rule : {"adamw", "muon"}) {
    const auto train = [&](int threads) {
      cpu::set_threads(threads);
      const Gpt model = tiny_model(config, DType::f32);
      OptimizerConfig c = adamw(1e-3);
      c.optimizer = rule;
      Optimizer optimizer(model.parameters(), std::move(c));
      for (std::uint64_t step = 0; step < 3; ++step) {
        optimizer.zero_grad();
        forward_backward(model, tiny_batch(config, 3, std::to_string(step)),
                         {.training = true, .seed = 1, .micro_batch = step});
        optimizer.step();
      }
      return model.parameters();
    };
    const auto alone = train(1);
    for (int threads : {2, 3, 8}) {
      const auto many = train(threads);
      for (std::size_t i = 0; i < alone.size(); ++i) {
        INFO(rule << ", " << threads << " threads, " << alone[i].info.name);
        CHECK(same_bits(many[i].value(), alone[i].value()));
      }
    }
  }
  cpu::set_threads(before);
}

TEST_CASE("the second training step makes no raw allocation", "[gpt][memory]") {
  GptConfig config = tiny_config();
  config.n_embd = 32;
  config.block_size = 32;  // a batch row's activations are then as large as a gradient
  config.dropout = 0.1;
  const int before = cpu::threads();
  for (const std::string rule : {"adamw", "muon"}) {
    for (const auto& [threads, micro_batches] : {std::pair{1, 1}, {1, 2}, {2, 1}, {2, 2}}) {
      cpu::set_threads(threads);
      const Gpt model = tiny_model(config, DType::f32);
      OptimizerConfig c = adamw(1e-3);
      c.optimizer = rule;
      Optimizer optimizer(model.parameters(), std::move(c));
      Allocator& allocator = backend_of(Device{}).allocator();
      const auto step = [&, micros = micro_batches](std::uint64_t i, double scale) {
        optimizer.zero_grad();
        const TinyBatch batch = tiny_batch(config, 2, std::to_string(i));
        for (std::int64_t micro = 0; micro < micros; ++micro)
          forward_backward(
              model, {batch.ids.slice(micro, micro + 1), batch.targets.slice(micro, micro + 1)},
              {.training = true, .seed = 1, .micro_batch = i}, scale);
        return optimizer.step().grad_norm;
      };
      INFO(rule << ", " << threads << " threads, " << micro_batches << " micro-batches");
      allocator.trim();
      const std::int64_t start = allocator.stats().raw_allocs;
      // The first step of adamw is not clipped, later ones are. muon holds the clipped gradients of
      // a few matrices at once, so there the steps are alike.
      CHECK((step(0, rule == "adamw" ? 1e-3 : 0.5) > 1) == (rule == "muon"));
      const AllocatorStats first = allocator.stats();
      CHECK(first.raw_allocs > start);
      for (std::uint64_t i = 1; i < 4; ++i) {
        CHECK(step(i, 0.5) > 1);
        CHECK(allocator.stats().raw_allocs == first.raw_allocs);
        CHECK(allocator.stats().live == first.live);
      }
    }
  }
  cpu::set_threads(before);
}

TEST_CASE("ids and shapes that do not fit are refused with a sentence", "[gpt]") {
  const GptConfig config = tiny_config();
  const Gpt model = tiny_model(config, DType::f32);
  const TinyBatch batch = tiny_batch(config, 2, "refused");
  CHECK_THROWS_AS(model.logits(Tensor::zeros({2, config.block_size + 1}, DType::i32), {}),
                  ShapeError);
  CHECK_THROWS_AS(model.logits(Tensor::zeros({4}, DType::i32), {}), ShapeError);
  CHECK_THROWS_AS(model.logits(Tensor::zeros({2, 4}), {}), DtypeError);
  CHECK_THROWS_AS(model.loss(batch.ids, batch.targets.slice(0, 1), {}), ShapeError);
  for (std::int32_t bad : {-1, static_cast<std::int32_t>(config.vocab_size)}) {
    Tensor ids = batch.ids.clone();
    ids.host<std::int32_t>()[5] = bad;
    CHECK_THROWS_AS(model.logits(ids, {}), Error);
    CHECK_THROWS_AS(model.loss(batch.ids, ids, {}), Error);
    KvCache cache = model.make_cache(2);
    CHECK_THROWS_AS(model.decode(ids, cache), Error);
  }
}

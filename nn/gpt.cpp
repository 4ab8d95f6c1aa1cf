#include "nn/gpt.h"

#include <fmt/format.h>

#include <utility>

#include "core/backend.h"
#include "core/error.h"
#include "core/ops/cross_entropy.h"

namespace muonlab {

Gpt::Gpt(GptConfig c, std::uint64_t seed, DType dtype, Device device) : config(std::move(c)) {
  validate(config);
  const Init init{seed, dtype, device};
  embedding = Embedding(init, config);
  for (std::int64_t layer = 0; layer < config.n_layer; ++layer)
    blocks.emplace_back(init, layer, config);
  ln_f = Norm(init, "ln_f", config.n_embd, config.bias);
  if (config.tied_head) {
    head.weight = embedding.token;
  } else {
    head = Linear(init, "head", config.n_embd, config.vocab_size, {.kind = ParamKind::head});
  }
}

Var Gpt::logits(const Tensor& ids, const Forward& forward) const {
  if (ids.shape().rank() != 2 || ids.shape()[1] > config.block_size)
    throw ShapeError(fmt::format("[gpt] ids must be (B, T) with T <= block_size {}; got {}",
                                 config.block_size, ids.shape().str()));
  Var x = forward.drop(embedding(ids), config.dropout, 0);
  for (const TransformerBlock& block : blocks) x = block(std::move(x), forward);
  return head(ln_f(x));
}

Var Gpt::loss(const Tensor& ids, const Tensor& targets, const Forward& forward) const {
  return softmax_cross_entropy(logits(ids, forward), targets);
}

Tensor Gpt::decode(const Tensor& ids, KvCache& cache) const {
  if (ids.shape().rank() != 2 || cache.length + ids.shape()[1] > config.block_size)
    throw ShapeError(fmt::format("[gpt] the cache holds {} of {} positions; ids {} do not fit",
                                 cache.length, config.block_size, ids.shape().str()));
  Tensor x = embedding(ids, cache.length).value();
  for (std::size_t i = 0; i < blocks.size(); ++i)
    x = blocks[i].decode(x, cache.layers[i], cache.length);
  cache.length += ids.shape()[1];
  const std::int64_t batch = x.shape()[0], time = x.shape()[1];
  Tensor last = Tensor::empty({batch, config.n_embd}, x.dtype(), x.device());
  for (std::int64_t b = 0; b < batch; ++b) {
    Tensor row = last.slice(b, b + 1);
    row.copy_from(
        x.reshape({batch * time, config.n_embd}).slice((b + 1) * time - 1, (b + 1) * time));
  }
  return head(ln_f(last)).value();
}

KvCache Gpt::make_cache(std::int64_t batch) const {
  const Tensor& like = embedding.token.value();
  KvCache cache;
  for (std::int64_t i = 0; i < config.n_layer; ++i)
    cache.layers.push_back(
        Tensor::empty({batch, config.block_size, 2 * config.kv_heads() * config.head_size()},
                      backend_of(like.device()).activation_type(like.dtype()), like.device()));
  return cache;
}

std::vector<Parameter> Gpt::parameters() const {
  std::vector<Parameter> out;
  embedding.collect(out);
  for (const TransformerBlock& block : blocks) block.collect(out);
  ln_f.collect(out);
  if (!config.tied_head) head.collect(out);
  return out;
}

Device Gpt::device() const { return embedding.token.value().device(); }

std::int64_t Gpt::parameter_count() const {
  std::int64_t n = 0;
  for (const Parameter& p : parameters()) n += p.value().numel();
  return n;
}

}  // namespace muonlab

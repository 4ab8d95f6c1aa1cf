#include "nn/block.h"

#include <fmt/format.h>

#include "core/ops/elementwise.h"

namespace muonlab {

TransformerBlock::TransformerBlock(const Init& init, std::int64_t layer, const GptConfig& config)
    : dropout(config.dropout), site(1 + 3 * static_cast<std::uint64_t>(layer)) {
  const std::string name = fmt::format("blocks.{}", layer);
  ln_1 = Norm(init, name + ".ln_1", config.n_embd, config.bias);
  attn = Attention(init, name + ".attn", config);
  ln_2 = Norm(init, name + ".ln_2", config.n_embd, config.bias);
  mlp = FeedForward(init, name + ".mlp", config);
}

Var TransformerBlock::operator()(Var x, const Forward& forward) const {
  x = add(x, forward.drop(attn(ln_1(x), forward, site), dropout, site + 1));
  x = add(x, forward.drop(mlp(ln_2(x)), dropout, site + 2));
  return x;
}

Tensor TransformerBlock::decode(const Tensor& x, Tensor& cache, std::int64_t past) const {
  const Var y = add(x, attn.decode(ln_1(x).value(), cache, past));
  return add(y, mlp(ln_2(y))).value();
}

void TransformerBlock::collect(std::vector<Parameter>& out) const {
  ln_1.collect(out);
  attn.collect(out);
  ln_2.collect(out);
  mlp.collect(out);
}

}  // namespace muonlab

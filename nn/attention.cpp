#include "nn/attention.h"

namespace muonlab {

CausalSelfAttention::CausalSelfAttention(const Init& init, const std::string& name,
                                         const GptConfig& config)
    : shape{config.n_head, config.kv_heads(), config.head_size()}, dropout(config.dropout) {
  const std::int64_t q = shape.heads * shape.head_size, kv = shape.kv_heads * shape.head_size;
  qkv = Linear(init, name + ".qkv", config.n_embd, shape.packed(),
               {.bias = config.bias,
                .blocks = {{0, q, "q", shape.heads},
                           {q, q + kv, "k", shape.kv_heads},
                           {q + kv, q + 2 * kv, "v", shape.kv_heads}}});
  proj = Linear(init, name + ".proj", q, config.n_embd,
                {.bias = config.bias, .std = residual_std(config)});
}

Var CausalSelfAttention::operator()(const Var& x, const Forward& forward,
                                    std::uint64_t site) const {
  return proj(causal_attention(qkv(x), shape, {}, forward.attention_dropout(dropout, site)));
}

Tensor CausalSelfAttention::decode(const Tensor& x, Tensor& cache, std::int64_t past) const {
  return proj(cached_attention(qkv(x).value(), shape, cache, past)).value();
}

void CausalSelfAttention::collect(std::vector<Parameter>& out) const {
  qkv.collect(out);
  proj.collect(out);
}

}  // namespace muonlab

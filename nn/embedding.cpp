#include "nn/embedding.h"

#include "core/ops/embedding.h"

namespace muonlab {

Embedding::Embedding(const Init& init, const GptConfig& config) {
  token = init.normal({.name = "wte.weight",
                       .kind = ParamKind::embedding,
                       .shape = {config.vocab_size, config.n_embd},
                       .note = config.tied_head ? "tied with the head" : ""},
                      0.02);
  position = init.normal({.name = "wpe.weight",
                          .kind = ParamKind::embedding,
                          .shape = {config.block_size, config.n_embd}},
                         0.02);
}

Var Embedding::operator()(const Tensor& ids, std::int64_t first) const {
  return embedding(ids, token.var, position.var, first);
}

void Embedding::collect(std::vector<Parameter>& out) const {
  out.push_back(token);
  out.push_back(position);
}

}  // namespace muonlab

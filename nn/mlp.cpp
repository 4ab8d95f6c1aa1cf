#include "nn/mlp.h"

namespace muonlab {

Mlp::Mlp(const Init& init, const std::string& name, const GptConfig& config)
    : activation(config.activation) {
  fc = Linear(init, name + ".fc", config.n_embd, 4 * config.n_embd, {.bias = config.bias});
  proj = Linear(init, name + ".proj", 4 * config.n_embd, config.n_embd,
                {.bias = config.bias, .std = residual_std(config)});
}

// The activation belongs to the second product, which applies it to its input.
Var Mlp::operator()(const Var& x) const { return proj(fc(x), activation); }

void Mlp::collect(std::vector<Parameter>& out) const {
  fc.collect(out);
  proj.collect(out);
}

}  // namespace muonlab

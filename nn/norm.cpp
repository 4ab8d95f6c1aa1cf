#include "nn/norm.h"

#include "core/ops/norm.h"

namespace muonlab {

LayerNorm::LayerNorm(const Init& init, const std::string& name, std::int64_t channels,
                     bool with_bias) {
  weight =
      init.constant({.name = name + ".weight", .kind = ParamKind::gain, .shape = {channels}}, 1);
  if (with_bias)
    bias = init.constant({.name = name + ".bias", .kind = ParamKind::bias, .shape = {channels}}, 0);
}

Var LayerNorm::operator()(const Var& x) const { return layer_norm(x, weight.var, bias.var); }

void LayerNorm::collect(std::vector<Parameter>& out) const {
  out.push_back(weight);
  if (bias.value().defined()) out.push_back(bias);
}

}  // namespace muonlab

#include "nn/linear.h"

#include <utility>

#include "core/ops/linear.h"

namespace muonlab {

Linear::Linear(const Init& init, const std::string& name, std::int64_t in, std::int64_t out,
               Options options) {
  weight = init.normal({.name = name + ".weight",
                        .kind = options.kind,
                        .shape = {out, in},
                        .blocks = std::move(options.blocks)},
                       options.std);
  if (options.bias)
    bias = init.constant({.name = name + ".bias", .kind = ParamKind::bias, .shape = {out}}, 0);
}

Var Linear::operator()(const Var& x, Activation input_activation) const {
  return linear(x, weight.var, bias.var, input_activation);
}

void Linear::collect(std::vector<Parameter>& out) const {
  out.push_back(weight);
  if (bias.value().defined()) out.push_back(bias);
}

}  // namespace muonlab

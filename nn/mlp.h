#pragma once

#include <string>
#include <vector>

#include "nn/config.h"
#include "nn/linear.h"

namespace muonlab {

/// y = proj(act(fc(x))), four times as wide inside.
struct Mlp {
  Activation activation = Activation::gelu;
  Linear fc;
  Linear proj;

  Mlp() = default;
  Mlp(const Init& init, const std::string& name, const GptConfig& config);
  /// Shapes: x (..., C); returns the same.
  Var operator()(const Var& x) const;
  void collect(std::vector<Parameter>& out) const;
};

}  // namespace muonlab

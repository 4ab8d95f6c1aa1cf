#pragma once

#include <string>
#include <vector>

#include "nn/init.h"

namespace muonlab {

/// LayerNorm with a gain and, if asked, a bias.
struct LayerNorm {
  Parameter weight;
  Parameter bias;  ///< its value is undefined if the layer has none

  LayerNorm() = default;
  LayerNorm(const Init& init, const std::string& name, std::int64_t channels, bool with_bias);
  /// Shapes: x (..., C); returns the same.
  Var operator()(const Var& x) const;
  void collect(std::vector<Parameter>& out) const;
};

}  // namespace muonlab

#pragma once

#include <string>
#include <vector>

#include "core/backend.h"
#include "nn/init.h"

namespace muonlab {

/// y = act(x) WT + b, W (out, in).
struct Linear {
  Parameter weight;
  Parameter bias;  ///< its value is undefined if the layer has none

  struct Options {
    bool bias = false;
    double std = 0.02;  ///< of the initial weights
    ParamKind kind = ParamKind::matrix;
    std::vector<Block> blocks{};  ///< row ranges that are matrices of their own
  };

  Linear() = default;
  Linear(const Init& init, const std::string& name, std::int64_t in, std::int64_t out,
         Options options);
  /// Shapes: x (..., in); returns (..., out).
  Var operator()(const Var& x, Activation input_activation = Activation::none) const;
  void collect(std::vector<Parameter>& out) const;
};

}  // namespace muonlab

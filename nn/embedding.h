#pragma once

#include <vector>

#include "nn/config.h"
#include "nn/init.h"

namespace muonlab {

/// Token embedding plus learned positions. Positions of another kind, such as a rotation within
/// attention, leave `position` out here.
struct Embedding {
  Parameter token;     ///< (V, C), "wte.weight"
  Parameter position;  ///< (block_size, C), "wpe.weight"

  Embedding() = default;
  Embedding(const Init& init, const GptConfig& config);
  /// Shapes: ids (B, T) i32 at positions first ... first + T - 1; returns (B, T, C).
  Var operator()(const Tensor& ids, std::int64_t first = 0) const;
  void collect(std::vector<Parameter>& out) const;
};

}  // namespace muonlab

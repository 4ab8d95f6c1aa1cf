#pragma once

#include <cstdint>
#include <string>

#include "core/param.h"

namespace muonlab {

/// Makes and fills the parameters of a model. Values are a pure function of seed and name, drawn on
/// the host in f32, so every backend starts from the same weights.
struct Init {
  std::uint64_t seed = 0;
  DType dtype = DType::f32;
  Device device{};

  /// N(0, std^2) elements.
  Parameter normal(ParamInfo info, double std) const;
  /// One value everywhere.
  Parameter constant(ParamInfo info, double value) const;
};

}  // namespace muonlab

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/param.h"

namespace muonlab {

/// What counts as a matrix of its own in a packed weight.
enum class Split : std::uint8_t {
  none,  ///< the weight
  qkv,   ///< each of its blocks
  head,  ///< each head of each block
};

/// The matrices that a parameter consists of: the whole weight, the blocks of a packed one (q, k,
/// v), or those of every matrix of a stack (experts). It is the only source of matrix shapes, so
/// that what is orthogonalised and what is scaled cannot differ.
class MatrixView {
 public:
  /// Throws: ConfigError if the parameter is not a matrix (rank 2) or a stack of them (rank 3), or
  /// if its blocks do not cover the rows in order, or its heads not those of a block.
  explicit MatrixView(const ParamInfo& info, Split split = Split::qkv);

  /// The matrices of a tensor of the parameter's shape, as rank-2 handles that share its storage.
  std::vector<Tensor> split(const Tensor& whole) const;
  std::vector<Shape> shapes() const;
  /// "3 x (128, 128)"
  std::string str() const;

 private:
  std::vector<std::int64_t> heights_;  // rows of each matrix, from the top
  std::int64_t cols_ = 0;
};

}  // namespace muonlab

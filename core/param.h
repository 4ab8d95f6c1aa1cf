#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/autograd.h"
#include "core/tensor.h"

// The border between layers and optimizers: nn fills these in, optim reads them, and neither
// includes the other.
namespace muonlab {

/// What a parameter is, said by the layer that makes it. Optimizers route by it.
enum class ParamKind : std::uint8_t { matrix, expert, embedding, head, router, gain, bias };
inline constexpr ParamKind kParamKinds[] = {
    ParamKind::matrix, ParamKind::expert, ParamKind::embedding, ParamKind::head,
    ParamKind::router, ParamKind::gain,   ParamKind::bias};
const char* name_of(ParamKind kind);

/// Rows [begin, end) of a weight that are a matrix of their own, with their role ("q", "k", "v").
struct Block {
  std::int64_t begin = 0, end = 0;
  std::string role;
  std::int64_t heads = 1;  ///< equal parts, one below the other, that attention uses separately
};

struct ParamInfo {
  std::string name;  ///< literal, e.g. "blocks.3.attn.qkv.weight"
  ParamKind kind = ParamKind::matrix;
  Shape shape;                  ///< a weight is (out, in)
  std::vector<Block> blocks{};  ///< empty: one block, the whole matrix
  std::string note{};  ///< why it is what it is, for the routing table ("tied with the head")
};

/// A trainable tensor: its description, its value, and the slot that backward writes to. A handle:
/// copies share the value and the gradient.
struct Parameter {
  ParamInfo info;
  Var var;

  Tensor& value() { return var.value(); }
  const Tensor& value() const { return var.value(); }
  /// The gradient, or an undefined tensor if backward has not written one.
  Tensor grad() const { return var.grad(); }
};

/// Makes a parameter with an uninitialised value.
Parameter make_parameter(ParamInfo info, DType dtype = DType::f32, Device device = {});

}  // namespace muonlab

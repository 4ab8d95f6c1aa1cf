#include "core/param.h"

#include <utility>

namespace muonlab {

const char* name_of(ParamKind kind) {
  switch (kind) {
    case ParamKind::matrix:
      return "matrix";
    case ParamKind::expert:
      return "expert";
    case ParamKind::embedding:
      return "embedding";
    case ParamKind::head:
      return "head";
    case ParamKind::router:
      return "router";
    case ParamKind::gain:
      return "gain";
    case ParamKind::bias:
      return "bias";
  }
  return "?";
}

Parameter make_parameter(ParamInfo info, DType dtype, Device device) {
  Var var = Var::leaf(Tensor::empty(info.shape, dtype, device));
  return {std::move(info), std::move(var)};
}

}  // namespace muonlab

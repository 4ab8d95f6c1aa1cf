#include "optim/steps/matrix_state.h"

#include <utility>

namespace muonlab {

StateSpec matrix_state(std::string name, const MatrixView& view, const PartShape& part) {
  std::int64_t size = 0;
  for (const Shape& matrix : view.shapes()) size += part(matrix).numel();
  return {std::move(name), Shape{size}};
}

std::vector<Tensor> parts(const Tensor& state, const MatrixView& view, const PartShape& part) {
  std::vector<Tensor> list;
  std::int64_t begin = 0;
  for (const Shape& matrix : view.shapes()) {
    const Shape shape = part(matrix);
    list.push_back(state.slice(begin, begin + shape.numel()).reshape(shape));
    begin += shape.numel();
  }
  return list;
}

}  // namespace muonlab

#pragma once

#include <functional>
#include <string>
#include <vector>

#include "optim/rule.h"
#include "optim/steps/matrix_view.h"

namespace muonlab {

/// The shape of what a rule keeps for a matrix of a shape.
using PartShape = std::function<Shape(const Shape& matrix)>;

/// One flat state tensor that holds a part for every matrix of a parameter.
StateSpec matrix_state(std::string name, const MatrixView& view, const PartShape& part);

/// The parts of such a tensor, as handles that share its storage.
std::vector<Tensor> parts(const Tensor& state, const MatrixView& view, const PartShape& part);

}  // namespace muonlab

#pragma once

#include <functional>
#include <string>

#include "core/tensor.h"

namespace muonlab::test {

/// Largest relative error that a gradient may have against central differences.
constexpr double kGradientTolerance = 1e-6;

/// Compares `grad` of a scalar function of the f64 tensor `x` with central differences of one step
/// size: along three dense random directions, in which an error in any element shows, and along
/// `elements` single elements (first, last, the rest drawn at random), which say where it is.
/// `loss` evaluates the function at the present value of x. `noise` is the rounding error of one
/// evaluation. Writes: x, which is restored.
void check_gradient(const std::string& name, const std::function<double()>& loss, Tensor x,
                    const Tensor& grad, int elements, double noise);

}  // namespace muonlab::test

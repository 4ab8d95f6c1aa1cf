#pragma once

#include <span>
#include <vector>

#include "core/elementwise.h"
#include "core/tensor.h"

// Eager functions on tensors, without gradients: what optimizers are written in. Every argument is
// checked; errors carry the function's name. d is the destination and may be one of the sources
// unless said.
namespace muonlab::math {

/// d = a x + b d. b = 0 does not read d.
void axpby(Tensor& d, double a, const Tensor& x, double b);
/// d = a x + b y
void add(Tensor& d, double a, const Tensor& x, double b, const Tensor& y);
/// d = x y + s d, elementwise. s = 0 does not read d.
void mul(Tensor& d, const Tensor& x, const Tensor& y, double s = 0);
/// Runs a program over every row (core/elementwise.h); one pass for all. All columns of all rows
/// have one floating dtype and one device; the columns of a row have one shape and do not overlap.
/// Throws: ShapeError, DtypeError, DeviceError.
void elementwise(const ElementProgram& program, std::span<const ElementRow> rows);

/// d[i] = factors[i] x[i] for every i, in one pass. No d may overlap its x.
void scale(std::span<const Tensor> d, std::span<const Tensor> x, std::span<const double> factors);

/// How `gemm` reads an operand.
enum class Op { plain, transposed };
/// c = alpha op(a) op(b) + beta c. Rank 2, or rank 3 with the batch first. c must not overlap.
/// `symmetric`: the caller knows that c is symmetric; half the work is done and mirrored.
void gemm(Tensor& c, const Tensor& a, Op op_a, const Tensor& b, Op op_b, double alpha = 1,
          double beta = 0, bool symmetric = false);

/// Sum of x / of x^2 over all elements, in f64.
double sum(const Tensor& x);
double sum_squares(const Tensor& x);
/// sum_squares of each, in one pass. All have one dtype and one device.
std::vector<double> sum_squares(std::span<const Tensor> x);
/// ||x||_F
double norm(const Tensor& x);
/// sqrt(mean x^2)
double rms(const Tensor& x);

}  // namespace muonlab::math

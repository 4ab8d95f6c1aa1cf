#pragma once

#include <span>

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
/// d = d + w (x - d): an exponential moving average with weight w for the newest value.
void lerp(Tensor& d, const Tensor& x, double w);
/// d = d + w (x^2 - d)
void lerp_square(Tensor& d, const Tensor& x, double w);
/// d = a m / (b sqrt(v) + eps), elementwise.
void adam_ratio(Tensor& d, double a, const Tensor& m, double b, const Tensor& v, double eps);
/// w = w - lr (u + decay w)
void apply_update(Tensor& w, const Tensor& u, double lr, double decay);

/// How `gemm` reads an operand.
enum class Op { plain, transposed };
/// c = alpha op(a) op(b) + beta c. Rank 2, or rank 3 with the batch first. c must not overlap.
/// `symmetric`: the caller knows that c is symmetric; half the work is done and mirrored.
void gemm(Tensor& c, const Tensor& a, Op op_a, const Tensor& b, Op op_b, double alpha = 1,
          double beta = 0, bool symmetric = false);

/// Sum of x / of x^2 over all elements, in f64.
double sum(const Tensor& x);
double sum_squares(const Tensor& x);
/// ||x||_F
double norm(const Tensor& x);
/// sqrt(mean x^2)
double rms(const Tensor& x);

}  // namespace muonlab::math

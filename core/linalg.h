#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "core/tensor.h"

// Decompositions of small matrices, by Eigen in f64 on the host, whatever the type and the device:
// operands on another device are copied there and back. The matrices of a call are shared among the
// cores. d[i] may be x[i].
namespace muonlab::linalg {

/// d = U V^T for each x = U S V^T, over the singular values above rounding, so that a zero matrix
/// stays zero. Shapes: (rows, cols). Writes: assigns.
void polar(std::span<const Tensor> d, std::span<const Tensor> x);

/// The largest singular value of each x (rows, cols).
std::vector<double> spectral_norms(std::span<const Tensor> x);

/// d = V f(L) V^T for each symmetric x = V L V^T. Shapes: (n, n). Writes: assigns.
void on_eigenvalues(std::span<const Tensor> d, std::span<const Tensor> x,
                    const std::function<double(double)>& f);

/// The eigenvectors of each symmetric x as columns of d, that of the largest eigenvalue first.
/// Shapes: (n, n). Writes: assigns.
void eigenvectors(std::span<const Tensor> d, std::span<const Tensor> x);

/// The factor Q of each x = Q R: orthonormal columns. Shapes: (rows, cols), rows >= cols. Writes:
/// assigns. Throws: ShapeError.
void orthonormal_columns(std::span<const Tensor> d, std::span<const Tensor> x);

}  // namespace muonlab::linalg

#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <span>

#include "core/elementwise.h"
#include "core/tensor.h"

// Rows and columns of a matrix, composed of products with ones, which every backend has.
namespace muonlab {

/// Added to a divisor, or the least that it may be, where a row of zeros must stay zero.
constexpr double kSmallest = 1e-30;

/// Runs f on the lanes of tensors of one shape and stores what it assigns to them, in one pass.
void on_elements(std::initializer_list<Tensor> columns,
                 const std::function<void(std::span<Lane>)>& f);

/// The sums of f(x) over each row (rows, 1), or over each column (1, cols), of a matrix.
Tensor row_sums(const Tensor& x, const std::function<Lane(const Lane&)>& f);
Tensor column_sums(const Tensor& x, const std::function<Lane(const Lane&)>& f);

/// x_ij = x_ij s_i. s: (rows, 1). / x_ij = x_ij s_j. s of cols elements. Writes: x.
void scale_rows(const Tensor& x, const Tensor& s);
void scale_columns(const Tensor& x, const Tensor& s);

/// (rows, cols) with elements a_i b_j, of a (rows, 1) and b (1, cols).
Tensor outer(const Tensor& a, const Tensor& b);

/// n identity matrices: (n, size, size).
Tensor identities(std::int64_t n, std::int64_t size, DType dtype, Device device);

/// (count, n): row i is the unit vector of the i-th largest of n numbers. Its product with a matrix
/// of n rows is those rows. The numbers go to the host for it.
Tensor largest_first(const Tensor& numbers, std::int64_t count);

}  // namespace muonlab

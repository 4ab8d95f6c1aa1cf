#pragma once

#include <string_view>

#include "core/tensor.h"

// Checks that every primitive makes before it hands tensors to a backend.
namespace muonlab {

/// Throws: ShapeError if t is an empty handle.
void check_defined(std::string_view op, std::string_view name, const Tensor& t);
/// Throws: ShapeError "[op] name must be <expected>, <why>; got <actual>".
void check_shape(std::string_view op, std::string_view name, const Tensor& t, const Shape& expected,
                 std::string_view why);
/// Throws: ShapeError if the rank differs.
void check_rank(std::string_view op, std::string_view name, const Tensor& t, int rank);
/// Throws: DtypeError or DeviceError unless t (where defined) has the type and device of `like`.
void check_alike(std::string_view op, std::string_view name, const Tensor& t, const Tensor& like);
/// The same for a parameter or a statistic beside activations like `x`: its type is wide_type().
void check_wide(std::string_view op, std::string_view name, const Tensor& t, const Tensor& x);
/// Throws: DtypeError unless t holds i32, Error unless all its values are in [0, limit).
void check_ids(std::string_view op, std::string_view name, const Tensor& t, std::int64_t limit);

}  // namespace muonlab

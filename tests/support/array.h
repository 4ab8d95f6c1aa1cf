#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace muonlab::test {

/// What references compute on: sizes and f64 values, row-major, without anything of the product's
/// kernels.
struct Array {
  Shape shape;
  std::vector<double> values;

  Array() = default;
  explicit Array(Shape s) : shape(s), values(static_cast<std::size_t>(s.numel())) {}
  /// The elements of a tensor of any type and device.
  explicit Array(const Tensor& t) : shape(t.shape()), values(t.to_vector()) {}

  std::int64_t numel() const { return shape.numel(); }
  double& operator[](std::int64_t i) { return values[static_cast<std::size_t>(i)]; }
  double operator[](std::int64_t i) const { return values[static_cast<std::size_t>(i)]; }
  /// A tensor of these values, rounded to `dtype`.
  Tensor tensor(DType dtype, Device device = {}) const;
};

/// Root of the mean square: the scale of an array's elements. 0 for an empty one.
double rms(const Array& a);

/// Normal values of the given mean and standard deviation, a pure function of `name`, rounded to
/// f32 so that f32 and f64 kernels see the same numbers.
Array normal_array(Shape shape, const std::string& name, double mean = 0, double deviation = 1);

/// The nearest numbers of bf16, to even in the middle: by arithmetic on the eight bits of their
/// mantissa, without the conversions that are tested with them. For normal numbers.
Array rounded_to_bf16(Array a);

/// Token ids in [0, vocab), a pure function of `name`, as a CPU i32 tensor.
Tensor random_ids(Shape shape, std::int64_t vocab, const std::string& name);

/// True if shape, dtype and every bit are equal. Equal NaNs count as equal.
bool same_bits(const Tensor& a, const Tensor& b);

}  // namespace muonlab::test

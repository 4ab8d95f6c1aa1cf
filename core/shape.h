#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

namespace muonlab {

/// Sizes of a contiguous row-major tensor, rank 0 (a scalar) to 4.
class Shape {
 public:
  static constexpr int kMaxRank = 4;
  /// Most elements of a shape, also of one in which some size is zero and counted as one: so counts
  /// of bytes fit in 64 bits whatever the order in which sizes are multiplied.
  static constexpr std::int64_t kMaxNumel = std::int64_t{1} << 59;

  Shape() = default;
  /// Throws: ShapeError for a rank above 4, a negative size or more than kMaxNumel elements.
  Shape(std::initializer_list<std::int64_t> sizes) : Shape(std::span(sizes.begin(), sizes.end())) {}
  explicit Shape(std::span<const std::int64_t> sizes);

  int rank() const { return rank_; }
  /// Size of dimension i; negative i counts from the end. Throws: ShapeError if out of range.
  std::int64_t operator[](int i) const;
  std::int64_t numel() const;
  /// Product of all sizes but the last: the number of rows when the tensor is seen as a matrix.
  std::int64_t rows() const;
  /// This shape with the size of its first (or last) dimension replaced. Throws: ShapeError.
  Shape with_first(std::int64_t size) const;
  Shape with_last(std::int64_t size) const;
  /// This shape with one more dimension at the end. Throws: ShapeError above rank 4.
  Shape with_appended(std::int64_t size) const;
  /// "(8, 256, 384)"
  std::string str() const;

  friend bool operator==(const Shape&, const Shape&) = default;

 private:
  std::array<std::int64_t, kMaxRank> sizes_{};
  int rank_ = 0;
};

}  // namespace muonlab

#include "core/shape.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"

namespace muonlab {

Shape::Shape(std::span<const std::int64_t> sizes) {
  if (sizes.size() > kMaxRank)
    throw ShapeError(
        fmt::format("[shape] rank must be at most {}; got {}", kMaxRank, sizes.size()));
  std::int64_t room = kMaxNumel;
  for (std::int64_t s : sizes) {
    if (s < 0) throw ShapeError(fmt::format("[shape] sizes must not be negative; got {}", s));
    sizes_[static_cast<std::size_t>(rank_++)] = s;
    room /= std::max<std::int64_t>(s, 1);
  }
  if (room == 0)
    throw ShapeError(
        fmt::format("[shape] {} has too many elements; at most {} fit", str(), kMaxNumel));
}

std::int64_t Shape::operator[](int i) const {
  const int at = i < 0 ? i + rank_ : i;
  if (at < 0 || at >= rank_)
    throw ShapeError(fmt::format("[shape] {} has no dimension {}", str(), i));
  return sizes_[static_cast<std::size_t>(at)];
}

std::int64_t Shape::numel() const {
  std::int64_t n = 1;
  for (int i = 0; i < rank_; ++i) n *= (*this)[i];
  return n;
}

std::int64_t Shape::rows() const {
  std::int64_t n = 1;
  for (int i = 0; i + 1 < rank_; ++i) n *= (*this)[i];
  return n;
}

Shape Shape::with_first(std::int64_t size) const {
  if (rank_ == 0) throw ShapeError("[shape] a scalar has no first dimension");
  std::array<std::int64_t, kMaxRank> sizes = sizes_;
  sizes[0] = size;
  return Shape(std::span(sizes).first(static_cast<std::size_t>(rank_)));
}

Shape Shape::with_last(std::int64_t size) const {
  if (rank_ == 0) throw ShapeError("[shape] a scalar has no last dimension");
  std::array<std::int64_t, kMaxRank> sizes = sizes_;
  sizes[static_cast<std::size_t>(rank_ - 1)] = size;
  return Shape(std::span(sizes).first(static_cast<std::size_t>(rank_)));
}

Shape Shape::with_appended(std::int64_t size) const {
  Shape s = *this;
  if (rank_ == kMaxRank)
    throw ShapeError(fmt::format("[shape] {} has the highest rank already", str()));
  ++s.rank_;
  return s.with_last(size);
}

std::string Shape::str() const {
  std::string s = "(";
  for (int i = 0; i < rank_; ++i) s += fmt::format("{}{}", i ? ", " : "", (*this)[i]);
  return s + ")";
}

}  // namespace muonlab

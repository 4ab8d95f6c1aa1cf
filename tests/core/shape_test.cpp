#include "core/shape.h"

#include <vector>

#include "core/error.h"
#include "tests/support/catch.h"

using namespace muonlab;

TEST_CASE("shape: sizes") {
  const Shape s{2, 3, 5};
  CHECK(s.rank() == 3);
  CHECK(s[0] == 2);
  CHECK(s[-1] == 5);
  CHECK(s[-3] == 2);
  CHECK(s.numel() == 30);
  CHECK(s.rows() == 6);
  CHECK(s.str() == "(2, 3, 5)");
  CHECK(s == Shape(std::span<const std::int64_t>(std::vector<std::int64_t>{2, 3, 5})));
  CHECK(s != Shape{2, 3});
  CHECK(s != Shape{2, 3, 5, 1});
  CHECK_THROWS_AS(s[3], ShapeError);
  CHECK_THROWS_AS(s[-4], ShapeError);
}

TEST_CASE("shape: a scalar has one element and no dimension") {
  const Shape s;
  CHECK(s.numel() == 1);
  CHECK(s.rows() == 1);
  CHECK(s.str() == "()");
  CHECK_THROWS_AS(s[0], ShapeError);
  CHECK_THROWS_AS(s.with_first(2), ShapeError);
  CHECK_THROWS_AS(s.with_last(2), ShapeError);
  CHECK(s.with_appended(4) == Shape{4});
}

TEST_CASE("shape: one size replaced or added") {
  const Shape s{2, 3};
  CHECK(s.with_first(7) == Shape{7, 3});
  CHECK(s.with_last(7) == Shape{2, 7});
  CHECK(s.with_appended(7) == Shape{2, 3, 7});
  CHECK(s == Shape{2, 3});
  CHECK_THROWS_AS(s.with_first(-1), ShapeError);
  CHECK_THROWS_AS((Shape{1, 2, 3, 4}.with_appended(5)), ShapeError);
}

TEST_CASE("shape: what cannot be counted is refused") {
  CHECK_THROWS_AS((Shape{1, 2, 3, 4, 5}), ShapeError);
  CHECK_THROWS_AS((Shape{2, -1}), ShapeError);
  CHECK((Shape{Shape::kMaxNumel, 1}).numel() == Shape::kMaxNumel);
  CHECK_THROWS_AS((Shape{Shape::kMaxNumel, 2}), ShapeError);
  CHECK_THROWS_AS((Shape{INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX}), ShapeError);
  CHECK((Shape{0, 1 << 20}).numel() == 0);
  CHECK_THROWS_AS((Shape{0, INT64_MAX, 2}), ShapeError);
  CHECK_THROWS_AS((Shape{2, 2}.with_last(INT64_MAX)), ShapeError);
}

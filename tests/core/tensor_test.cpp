#include "core/tensor.h"

#include <utility>

#include "core/backend.h"
#include "core/error.h"
#include "tests/support/catch.h"

using namespace muonlab;

namespace {

using Values = std::vector<double>;

Tensor iota(Shape shape) {
  std::vector<float> v(static_cast<std::size_t>(shape.numel()));
  for (std::size_t i = 0; i < v.size(); ++i) v[i] = static_cast<float>(i);
  return Tensor::from<float>(shape, v);
}

}  // namespace

TEST_CASE("tensor: made from values") {
  const Tensor f = Tensor::from<float>({2, 2}, std::vector<float>{1, 2, 3, 4});
  const Tensor d = Tensor::from<double>({3}, std::vector<double>{0.1, -1, 1e300});
  const Tensor i = Tensor::from<std::int32_t>({2}, std::vector<std::int32_t>{-1, INT32_MAX});
  CHECK(f.dtype() == DType::f32);
  CHECK(f.bytes() == 16);
  CHECK(f.to_vector() == Values{1, 2, 3, 4});
  CHECK(d.bytes() == 24);
  CHECK(d.to_vector() == Values{0.1, -1, 1e300});
  CHECK(i.to_vector() == Values{-1, INT32_MAX});
  CHECK_THROWS_AS(Tensor::from<float>({3}, std::vector<float>{1, 2}), ShapeError);
  CHECK(Tensor::zeros({2, 3}).to_vector() == Values(6, 0));
  CHECK(Tensor::empty({0, 4}).to_vector().empty());
}

TEST_CASE("tensor: access asks for the right type") {
  Tensor t = iota({4});
  CHECK(t.host<float>()[3] == 3);
  CHECK_THROWS_AS(t.host<double>(), DtypeError);
  CHECK_THROWS_AS(t.data<std::int32_t>(), DtypeError);
  CHECK(reinterpret_cast<std::uintptr_t>(t.raw()) % 64 == 0);
}

TEST_CASE("tensor: an empty handle is an error where elements are needed") {
  Tensor none, scalar = Tensor::zeros({});
  CHECK_FALSE(none.defined());
  CHECK_FALSE(none.shares(none));
  CHECK_THROWS_AS(none.item(), ShapeError);
  CHECK_THROWS_AS(none.to_vector(), ShapeError);
  CHECK_THROWS_AS(none.clone(), ShapeError);
  CHECK_THROWS_AS(scalar.copy_from(none), ShapeError);
  CHECK_THROWS_AS(none.copy_from(scalar), ShapeError);
}

TEST_CASE("tensor: copies share, clones do not") {
  Tensor a = iota({3});
  CHECK(a.unique());
  Tensor b = a;
  CHECK(b.shares(a));
  CHECK_FALSE(a.unique());
  b.host<float>()[0] = 9;
  CHECK(a.to_vector() == Values{9, 1, 2});
  Tensor c = a.clone();
  CHECK_FALSE(c.shares(a));
  c.fill(5);
  CHECK(a.to_vector() == Values{9, 1, 2});
  CHECK(c.to_vector() == Values{5, 5, 5});
  b = Tensor();
  CHECK(a.unique());
}

TEST_CASE("tensor: reshape and slice view the same storage") {
  Tensor a = iota({4, 3});
  Tensor wide = a.reshape({2, 6});
  CHECK(wide.shares(a));
  CHECK(wide.shape() == Shape{2, 6});
  CHECK_THROWS_AS(a.reshape({5, 3}), ShapeError);

  Tensor rows = a.slice(1, 3);
  CHECK(rows.shape() == Shape{2, 3});
  CHECK(rows.to_vector() == Values{3, 4, 5, 6, 7, 8});
  CHECK(rows.slice(1, 2).to_vector() == Values{6, 7, 8});
  rows.fill(-1);
  CHECK(a.to_vector() == Values{0, 1, 2, -1, -1, -1, -1, -1, -1, 9, 10, 11});
  CHECK(rows.clone().to_vector() == Values(6, -1));
  CHECK(a.slice(4, 4).numel() == 0);
  CHECK_THROWS_AS(a.slice(-1, 2), ShapeError);
  CHECK_THROWS_AS(a.slice(2, 1), ShapeError);
  CHECK_THROWS_AS(a.slice(0, 5), ShapeError);
  CHECK_THROWS_AS(Tensor::zeros({}).slice(0, 1), ShapeError);
}

TEST_CASE("tensor: copies go between tensors of one shape and type") {
  Tensor a = iota({2, 3});
  Tensor b = Tensor::zeros({2, 3});
  b.copy_from(a);
  CHECK(b.to_vector() == a.to_vector());
  b.copy_from(b);
  CHECK(b.to_vector() == a.to_vector());
  CHECK_THROWS_AS(b.copy_from(iota({3, 2})), ShapeError);
  CHECK_THROWS_AS(b.copy_from(Tensor::zeros({2, 3}, DType::f64)), ShapeError);
  CHECK(a.to(Device{}).shares(a));
  CHECK_THROWS_AS(Tensor::zeros({2}, DType::f32, {DeviceKind::cuda, 97}), DeviceError);
}

TEST_CASE("tensor: fill takes every type") {
  for (DType type : {DType::f32, DType::f64, DType::i32}) {
    Tensor t = Tensor::empty({5}, type);
    t.fill(3);
    CHECK(t.to_vector() == Values(5, 3));
  }
}

TEST_CASE("tensor: item") {
  CHECK(iota({1}).item() == 0);
  CHECK(Tensor::from<double>({}, std::vector<double>{2.5}).item() == 2.5);
  CHECK_THROWS_AS(iota({2}).item(), ShapeError);
}

TEST_CASE("tensor: storage returns to the allocator with its last handle") {
  Allocator& allocator = backend_of(Device{}).allocator();
  const std::size_t before = allocator.stats().live;
  {
    Tensor part;
    {
      const Tensor whole = Tensor::empty({1000, 10});
      part = whole.slice(3, 4);
    }
    CHECK(allocator.stats().live >= before + 40'000);
  }
  CHECK(allocator.stats().live == before);
}

TEST_CASE("tensor: more elements than memory holds is an error, not a crash") {
  CHECK_THROWS_AS(Tensor::empty({Shape::kMaxNumel}), DeviceError);
  CHECK_THROWS_AS(Tensor::empty({std::int64_t{1} << 31, std::int64_t{1} << 31}), ShapeError);
}

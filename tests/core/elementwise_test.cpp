#include "core/elementwise.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "core/cpu/parallel.h"
#include "core/error.h"
#include "core/math.h"
#include "core/rng.h"
#include "tests/support/array.h"
#include "tests/support/catch.h"

using namespace muonlab;
using namespace muonlab::test;

namespace {

// Less than a vector; several tiles and a rest; several chunks and a rest.
const std::int64_t kSizes[] = {1, 17, 3001, 40001};

/// A number and a bound of the error that a computation in floating point may have made until
/// here, in units of its rounding (running error analysis: Higham 2002, "Accuracy and stability of
/// numerical algorithms", section 3.3).
struct Bounded {
  double value = 0, error = 0;
};

Bounded reference(ElementOp op, Bounded a, Bounded b, Bounded c) {
  // A result is rounded once, a fused product not at all or once more: |value| units for each of
  // the two roundings at most.
  const auto rounded = [](double value, double error) {
    return Bounded{value, error + 2 * std::abs(value)};
  };
  switch (op) {
    case ElementOp::copy:
      return a;
    case ElementOp::add:
      return rounded(a.value + b.value, a.error + b.error);
    case ElementOp::sub:
      return rounded(a.value - b.value, a.error + b.error);
    case ElementOp::mul:
      return rounded(a.value * b.value, std::abs(a.value) * b.error + std::abs(b.value) * a.error);
    case ElementOp::div:
      return rounded(a.value / b.value, a.error / std::abs(b.value) +
                                            std::abs(a.value) * b.error / (b.value * b.value));
    case ElementOp::lerp: {
      const Bounded way = reference(ElementOp::sub, b, a, {});
      return reference(ElementOp::add, a, reference(ElementOp::mul, c, way, {}), {});
    }
    case ElementOp::min:
      return {std::min(a.value, b.value), std::max(a.error, b.error)};
    case ElementOp::max:
      return {std::max(a.value, b.value), std::max(a.error, b.error)};
    case ElementOp::sqrt:
      return rounded(std::sqrt(a.value), a.error / (2 * std::sqrt(a.value)));
    case ElementOp::abs:
      return {std::abs(a.value), a.error};
    case ElementOp::sign:
      return {static_cast<double>((a.value > 0) - (a.value < 0)), 0};
    case ElementOp::fma:
    case ElementOp::fnma:
      break;  // made by the builder alone
  }
  FAIL("no reference");
  return {};
}

/// A random straight-line program, written down for the builder and computed beside it for every
/// element of one row.
struct RandomProgram {
  ElementwiseBuilder builder;
  std::vector<Array> columns;
  std::vector<double> scalars{0.75, -1.25};
  std::vector<std::vector<Bounded>> stored;  // by column; empty where nothing was stored

  RandomProgram(std::uint64_t seed, std::int64_t n) {
    constexpr int kColumns = 4;
    const Rng rng(seed, RngPurpose::test, stream_of("elementwise"));
    std::uint64_t draws = 0;
    const auto draw = [&](std::size_t below) {
      return static_cast<std::size_t>(rng.below(static_cast<std::uint32_t>(below), draws++));
    };
    std::vector<Lane> lanes;
    std::vector<std::vector<Bounded>> values;
    const auto constant = [&](double x) {
      return std::vector<Bounded>(static_cast<std::size_t>(n), {x, std::abs(x)});
    };
    for (int k = 0; k < kColumns; ++k) {
      columns.push_back(normal_array(Shape{n}, fmt::format("c{} {}", seed, k)));
      lanes.push_back(builder.column(k));
      values.emplace_back();
      for (double v : columns.back().values) values.back().push_back({v, 0});
    }
    for (std::size_t k = 0; k < scalars.size(); ++k) {
      lanes.push_back(builder.scalar(static_cast<int>(k)));
      values.push_back(constant(scalars[k]));
    }
    for (int i = 0; i < 14; ++i) {
      constexpr ElementOp kOps[] = {ElementOp::add, ElementOp::sub,  ElementOp::mul,
                                    ElementOp::mul, ElementOp::lerp, ElementOp::min,
                                    ElementOp::max, ElementOp::abs,  ElementOp::copy};
      const ElementOp op = kOps[draw(std::size(kOps))];
      const std::size_t a = draw(lanes.size()), b = draw(lanes.size()), c = draw(lanes.size());
      const bool number = draw(4) == 0;  // b is a constant
      const Lane second = number ? Lane(0.3) : lanes[b];
      const std::vector<Bounded> second_values = number ? constant(0.3) : values[b];
      lanes.push_back(ElementwiseBuilder::apply(op, lanes[a], second, lanes[c]));
      values.emplace_back();
      for (std::size_t e = 0; e < static_cast<std::size_t>(n); ++e)
        values.back().push_back(reference(op, values[a][e], second_values[e], values[c][e]));
    }
    stored.resize(kColumns);
    for (int i = 0; i < 4; ++i) {  // the same column or value may be drawn twice
      const std::size_t k = draw(kColumns), v = draw(lanes.size());
      builder.store(static_cast<int>(k), lanes[v]);
      stored[k] = values[v];
    }
  }
};

template <class F>
std::string message_of(const F& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}
bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("random programs compute what their operations say, on columns as they were before",
          "[elementwise]") {
  for (DType dtype : {DType::f32, DType::f64}) {
    const double unit = dtype == DType::f32 ? 0x1p-24 : 0x1p-53;
    int compared = 0;
    for (std::uint64_t seed = 1; seed <= 300; ++seed) {
      RandomProgram random(seed, kSizes[seed % 3]);
      std::vector<Tensor> columns;
      for (const Array& c : random.columns) columns.push_back(c.tensor(dtype));
      const ElementProgram program = random.builder.program();
      const ElementRow row{columns, random.scalars};
      math::elementwise(program, {&row, 1});
      INFO("seed " << seed << " " << name_of(dtype));
      for (std::size_t k = 0; k < columns.size(); ++k) {
        const std::vector<double> got = columns[k].to_vector();
        int wrong = 0;
        for (std::size_t e = 0; e < got.size(); ++e) {
          const bool kept = random.stored[k].empty();
          const Bounded want = kept ? Bounded{random.columns[k].values[e], 0} : random.stored[k][e];
          // The bound is of first order; twice covers the rest.
          wrong += !(std::abs(got[e] - want.value) <= 2 * unit * want.error);
          compared += !kept;
        }
        CHECK(wrong == 0);
        CHECK(((program.writes >> k) & 1) == !random.stored[k].empty());
      }
    }
    CHECK(compared > 100000);
  }
}

TEST_CASE("division, root and sign", "[elementwise]") {
  for (std::int64_t n : kSizes) {
    const Array x = normal_array(Shape{n}, "x"), y = normal_array(Shape{n}, "y");
    ElementwiseBuilder f;
    f.store(2, f.column(0) / f.column(1));
    f.store(3, sqrt(abs(f.column(0))));
    f.store(4, sign(f.column(0)));
    f.store(5, f.column(0) / 3.0);
    ElementRow row{{x.tensor(DType::f64), y.tensor(DType::f64)}};
    for (int k = 2; k < 6; ++k) row.columns.push_back(Tensor::empty({n}, DType::f64));
    math::elementwise(f.program(), {&row, 1});
    std::vector<std::vector<double>> got;
    for (const Tensor& t : row.columns) got.push_back(t.to_vector());
    int wrong = 0;
    for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
      const double a = x.values[i], b = y.values[i];
      // One rounding; the quotient by a number has two: of the inverse and of the product.
      wrong += !(std::abs(got[2][i] - a / b) <= 0x1p-53 * std::abs(a / b));
      wrong += !(std::abs(got[3][i] - std::sqrt(std::abs(a))) <= 0x1p-53 * std::sqrt(std::abs(a)));
      wrong += got[4][i] != (a > 0) - (a < 0);
      wrong += !(std::abs(got[5][i] - a / 3) <= 0x1p-52 * std::abs(a / 3));
    }
    CHECK(wrong == 0);
  }
  ElementwiseBuilder f;
  f.store(0, sign(f.column(0)));
  ElementRow row{{Tensor::from<double>({4}, std::vector<double>{0.0, -0.0, NAN, -INFINITY})}};
  math::elementwise(f.program(), {&row, 1});
  CHECK(row.columns[0].to_vector() == std::vector<double>{0, 0, 0, -1});
}

TEST_CASE("rows have their own numbers, any shapes, and none may be empty-handed",
          "[elementwise]") {
  ElementwiseBuilder f;
  f.store(0, f.column(0) - f.scalar(0) * f.column(1));
  std::vector<ElementRow> rows;
  for (double rate : {1.0, 2.0, 3.0}) {
    const auto n = static_cast<std::int64_t>(rate) - 1;  // the first has no elements
    Tensor w = Tensor::empty({n, 2}), g = Tensor::empty({n, 2});
    w.fill(10);
    g.fill(1);
    rows.push_back({{w, g}, {rate}});
  }
  math::elementwise(f.program(), rows);
  CHECK(rows[1].columns[0].to_vector() == std::vector<double>(2, 8));
  CHECK(rows[2].columns[0].to_vector() == std::vector<double>(4, 7));
  CHECK_NOTHROW(math::elementwise(f.program(), {}));
}

TEST_CASE("the bits do not depend on the number of threads", "[elementwise]") {
  const int before = cpu::threads();
  const auto run = [](int threads) {
    cpu::set_threads(threads);
    RandomProgram random(7, 100003);
    std::vector<Tensor> columns;
    for (const Array& c : random.columns) columns.push_back(c.tensor(DType::f32));
    const ElementRow row{columns, random.scalars};
    math::elementwise(random.builder.program(), {&row, 1});
    return columns;
  };
  const std::vector<Tensor> one = run(1);
  for (int threads : {2, 3, 8}) {
    const std::vector<Tensor> many = run(threads);
    for (std::size_t k = 0; k < one.size(); ++k) CHECK(same_bits(one[k], many[k]));
  }
  cpu::set_threads(before);
}

TEST_CASE("a program holds no more than it needs", "[elementwise]") {
  // AdamW: two means, the ratio, decay and step, each value straight to its column.
  ElementwiseBuilder f;
  const Lane w = f.column(0), g = f.column(1);
  const Lane m = lerp(f.column(2), g, 0.1), v = lerp(f.column(3), g * g, 0.01);
  f.store(2, m);
  f.store(3, v);
  const Lane unused = g + 1.0;
  static_cast<void>(unused);
  f.store(0, w - 0.5 * ((m / 0.19) / (sqrt(v / 0.02) + 1e-8) + f.scalar(0) * w));
  const ElementProgram p = f.program();
  // lerp, g g, lerp, m / c, v / c, root, + eps, quotient, + decay w, - lr u
  CHECK(p.instructions == 10);
  CHECK(p.temporaries <= 2);
  CHECK(p.columns == 4);
  CHECK(p.reads == 0b1111);
  CHECK(p.writes == 0b1101);
}

TEST_CASE("what does not fit or does not belong together is refused", "[elementwise]") {
  ElementwiseBuilder f, other;
  CHECK(contains(message_of([&] { f.column(ElementProgram::kMaxColumns); }), "columns; at most"));
  CHECK(contains(message_of([&] { f.column(0) + other.column(0); }), "two programs"));
  CHECK(contains(message_of([&] { Lane(1.0) + Lane(2.0); }), "numbers alone"));
  Lane sum = f.column(0);
  const auto grow = [&] {
    for (int i = 0; i <= ElementProgram::kMaxInstructions; ++i) sum = sum + f.column(1);
  };
  CHECK(contains(message_of([&] { grow(); }), "instructions; at most"));

  ElementwiseBuilder g;
  g.store(0, g.column(0) + g.column(1));
  const ElementProgram program = g.program();
  const Tensor x = Tensor::zeros({6}), y = Tensor::zeros({6});
  const auto run = [&](const ElementRow& row) { math::elementwise(program, {&row, 1}); };
  CHECK_NOTHROW(run({{x, y}}));
  CHECK_THROWS_AS(run({{x}}), ShapeError);
  CHECK_THROWS_AS(run({{x, Tensor::zeros({2, 3})}}), ShapeError);
  CHECK_THROWS_AS(run({{x, Tensor::zeros({6}, DType::f64)}}), DtypeError);
  CHECK(contains(message_of([&] { run({{x, x}}); }), "must not overlap"));
  CHECK(contains(message_of([&] { run({{x.slice(0, 4), x.slice(2, 6)}}); }), "must not overlap"));
}

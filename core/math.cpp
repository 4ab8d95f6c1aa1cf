#include "core/math.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>

#include "core/backend.h"
#include "core/error.h"
#include "core/profile.h"

namespace muonlab::math {
namespace {

struct Operand {
  const char* name;
  const Tensor& tensor;
};

void check_floating(const char* function, const Operand& o) {
  if (!o.tensor.defined())
    throw ShapeError(
        fmt::format("[{}] {} must be a tensor; got an empty handle", function, o.name));
  if (o.tensor.dtype() == DType::i32)
    throw DtypeError(fmt::format("[{}] {} must be f32 or f64; got i32", function, o.name));
}

void check_same_kind(const char* function, const Operand& o, const Operand& like) {
  check_floating(function, o);
  if (o.tensor.dtype() != like.tensor.dtype())
    throw DtypeError(fmt::format("[{}] {} must be {}, as {} is; got {}", function, o.name,
                                 name_of(like.tensor.dtype()), like.name,
                                 name_of(o.tensor.dtype())));
  if (o.tensor.device() != like.tensor.device())
    throw DeviceError(fmt::format("[{}] {} must be on {}, where {} is; got {}", function, o.name,
                                  like.tensor.device().str(), like.name, o.tensor.device().str()));
}

void check_alike(const char* function, const Operand& o, const Operand& like) {
  check_same_kind(function, o, like);
  if (o.tensor.shape() != like.tensor.shape())
    throw ShapeError(fmt::format("[{}] {} must be {}, the shape of {}; got {}", function, o.name,
                                 like.tensor.shape().str(), like.name, o.tensor.shape().str()));
}

bool overlap(const Tensor& x, const Tensor& y) {
  const auto* x0 = static_cast<const char*>(x.raw());
  const auto* y0 = static_cast<const char*>(y.raw());
  const std::less<const char*> before;
  return before(x0, y0 + y.bytes()) && before(y0, x0 + x.bytes());
}

/// Operations of a program for each element.
double flops(const ElementProgram& program) {
  double count = 0;
  for (int i = 0; i < program.instructions; ++i)
    switch (program.code[static_cast<std::size_t>(i)].op) {
      case ElementOp::copy:
        break;
      case ElementOp::fma:
      case ElementOp::fnma:
        count += 2;
        break;
      case ElementOp::lerp:
        count += 3;
        break;
      default:
        count += 1;
    }
  return count;
}

void run(const ElementProgram& program, std::span<const ElementRow> rows) {
  const Tensor& first = rows[0].columns[0];
  if (Profile::active()) {
    const double of_each = flops(program);
    for (const ElementRow& row : rows)
      Profile::count(of_each * static_cast<double>(row.columns[0].numel()));
  }
  backend_of(first.device()).elementwise({program, rows});
}

}  // namespace

void elementwise(const ElementProgram& program, std::span<const ElementRow> rows) {
  const Tensor* first = nullptr;
  for (const ElementRow& row : rows) {
    if (row.columns.size() < static_cast<std::size_t>(program.columns) ||
        row.scalars.size() < static_cast<std::size_t>(program.scalars))
      throw ShapeError(
          fmt::format("[elementwise] the program has {} columns and {} scalars; got {} and {}",
                      program.columns, program.scalars, row.columns.size(), row.scalars.size()));
    for (std::size_t k = 0; k < static_cast<std::size_t>(program.columns); ++k) {
      const Tensor& column = row.columns[k];
      if (!first) {
        check_floating("elementwise", {"the first column", column});
        first = &column;
      }
      check_same_kind("elementwise", {"every column", column}, {"the first", *first});
      check_alike("elementwise", {"every column", column},
                  {"the first of its row", row.columns[0]});
      for (std::size_t other = 0; other < k; ++other)
        if (overlap(column, row.columns[other]))
          throw ShapeError("[elementwise] the columns of a row must not overlap");
    }
  }
  if (first) run(program, rows);
}

namespace {

/// The columns of one row, each tensor once however often it is named.
class Columns {
 public:
  /// The lane of a tensor that was checked to have the shape of the others.
  Lane lane(const Tensor& t) { return program_.column(index(t)); }
  void assign(const Tensor& d, Lane value) {
    program_.store(index(d), value);
    const ElementRow row{std::move(columns_)};
    run(program_.program(), {&row, 1});
  }

 private:
  int index(const Tensor& t) {
    const auto at = std::find_if(columns_.begin(), columns_.end(),
                                 [&](const Tensor& c) { return c.raw() == t.raw(); });
    const auto k = static_cast<int>(at - columns_.begin());
    if (at == columns_.end()) columns_.push_back(t);
    return k;
  }

  ElementwiseBuilder program_;
  std::vector<Tensor> columns_;
};

}  // namespace

void axpby(Tensor& d, double a, const Tensor& x, double b) {
  check_floating("axpby", {"d", d});
  check_alike("axpby", {"x", x}, {"d", d});
  Columns columns;
  Lane value = a * columns.lane(x);
  if (b != 0) value = value + b * columns.lane(d);
  columns.assign(d, value);
}

void add(Tensor& d, double a, const Tensor& x, double b, const Tensor& y) {
  check_floating("add", {"d", d});
  check_alike("add", {"x", x}, {"d", d});
  check_alike("add", {"y", y}, {"d", d});
  Columns columns;
  const Lane lx = columns.lane(x);
  columns.assign(d, a * lx + b * columns.lane(y));
}

void mul(Tensor& d, const Tensor& x, const Tensor& y, double s) {
  check_floating("mul", {"d", d});
  check_alike("mul", {"x", x}, {"d", d});
  check_alike("mul", {"y", y}, {"d", d});
  Columns columns;
  const Lane lx = columns.lane(x);
  Lane value = lx * columns.lane(y);
  if (s != 0) value = value + s * columns.lane(d);
  columns.assign(d, value);
}

void scale(std::span<const Tensor> d, std::span<const Tensor> x, std::span<const double> factors) {
  if (d.size() != x.size() || d.size() != factors.size())
    throw ShapeError(fmt::format("[scale] as many d, x and factors are needed; got {}, {} and {}",
                                 d.size(), x.size(), factors.size()));
  ElementwiseBuilder program;
  program.store(0, program.scalar(0) * program.column(1));
  std::vector<ElementRow> rows;
  for (std::size_t i = 0; i < d.size(); ++i) rows.push_back({{d[i], x[i]}, {factors[i]}});
  elementwise(program.program(), rows);
}

void gemm(Tensor& c, const Tensor& a, Op op_a, const Tensor& b, Op op_b, double alpha, double beta,
          bool symmetric) {
  check_floating("gemm", {"c", c});
  check_same_kind("gemm", {"a", a}, {"c", c});
  check_same_kind("gemm", {"b", b}, {"c", c});

  const Shape &sa = a.shape(), &sb = b.shape(), &sc = c.shape();
  const int rank = sc.rank();
  if (rank < 2 || rank > 3 || sa.rank() != rank || sb.rank() != rank ||
      (rank == 3 && (sa[0] != sc[0] || sb[0] != sc[0])))
    throw ShapeError(
        fmt::format("[gemm] a, b, c must all be matrices, or all be equally many matrices with the "
                    "batch first; got {}, {}, {}",
                    sa.str(), sb.str(), sc.str()));
  const bool trans_a = op_a == Op::transposed, trans_b = op_b == Op::transposed;
  const std::int64_t m = sa[trans_a ? -1 : -2], ka = sa[trans_a ? -2 : -1];
  const std::int64_t n = sb[trans_b ? -2 : -1], kb = sb[trans_b ? -1 : -2];
  if (ka != kb || m != sc[-2] || n != sc[-1])
    throw ShapeError(
        fmt::format("[gemm] c = op(a) op(b) must be {} x {} from {} x {} and {} x {}; "
                    "got {} for c",
                    m, n, m, ka, kb, n, sc.str()));
  if (symmetric && m != n)
    throw ShapeError(fmt::format("[gemm] a symmetric c must be square; got {}", sc.str()));
  if (overlap(c, a) || overlap(c, b))
    throw ShapeError("[gemm] c must not overlap a or b; give it storage of its own");
  Profile::count((symmetric ? 1.0 : 2.0) * static_cast<double>(c.numel()) *
                 static_cast<double>(ka));

  backend_of(c.device())
      .gemm({.a = a,
             .b = b,
             .c = c,
             .trans_a = trans_a,
             .trans_b = trans_b,
             .alpha = alpha,
             .beta = beta,
             .symmetric = symmetric});
}

double sum(const Tensor& x) {
  check_floating("sum", {"x", x});
  Profile::count(static_cast<double>(x.numel()));
  return backend_of(x.device()).sum(x);
}

double sum_squares(const Tensor& x) { return sum_squares({&x, 1})[0]; }

std::vector<double> sum_squares(std::span<const Tensor> x) {
  std::vector<double> sums(x.size());
  if (x.empty()) return sums;
  check_floating("sum_squares", {"x", x[0]});
  for (const Tensor& t : x) {
    check_same_kind("sum_squares", {"every x", t}, {"the first", x[0]});
    Profile::count(2 * static_cast<double>(t.numel()));
  }
  backend_of(x[0].device()).sum_squares(x, sums);
  return sums;
}

double norm(const Tensor& x) {
  check_floating("norm", {"x", x});
  return std::sqrt(sum_squares(x));
}

double rms(const Tensor& x) {
  check_floating("rms", {"x", x});
  if (x.numel() == 0)
    throw ShapeError(fmt::format("[rms] x must have an element; got {}", x.shape().str()));
  return std::sqrt(sum_squares(x) / static_cast<double>(x.numel()));
}

}  // namespace muonlab::math

#include "optim/steps/newton_schulz.h"

#include <vector>

#include "core/cpu/parallel.h"
#include "tests/optim/muon_reference.h"
#include "tests/support/catch.h"

using namespace muonlab;
using namespace muonlab::testing;

namespace {

constexpr double kEps = 1e-7;
const Values kOne{1};

std::vector<Quintic> jordan(int steps) {
  return std::vector<Quintic>(static_cast<std::size_t>(steps), kJordan);
}

Matrix orth(const Matrix& g, int steps = 5, DType dtype = DType::f64) {
  Tensor x = tensor_of(g, dtype);
  newton_schulz({&x, 1}, jordan(steps), kEps, kOne);
  return matrix_of(x.to_vector(), g.rows(), g.cols());
}

double distance(const Matrix& a, const Matrix& b) { return (a - b).cwiseAbs().maxCoeff(); }

/// A random orthogonal matrix.
Matrix rotation(std::int64_t n, std::uint64_t seed) {
  return on_singular_values(gaussian_matrix(n, n, seed), [](double s) { return 1 / s; });
}

}  // namespace

TEST_CASE("Newton-Schulz gives the golden matrix") {
  Matrix m(2, 3), golden(2, 3);
  m << 1, 2, 3, 4, 5, 6;
  // Computed once in f64 with ||G|| + 1e-7, which differs by 1e-8 from max(||G||, 1e-7) here.
  golden << -.568290110, .057741943, .683773996, .563354698, .405612831, .247870965;
  CHECK(distance(orth(m), golden) < 1e-7);
  CHECK(distance(orth(m, 5, DType::f32), golden) < 1e-5);
  CHECK(distance(orth(m.transpose()), golden.transpose()) < 1e-7);
}

TEST_CASE("Newton-Schulz acts on the singular values alone") {
  const std::pair<int, int> shape =
      GENERATE(std::pair{128, 512}, std::pair{512, 128}, std::pair{128, 128}, std::pair{192, 768});
  const Matrix g = gaussian_matrix(shape.first, shape.second, 1);
  const Matrix expected = reference_orth(g, g.norm());
  INFO(shape.first << " x " << shape.second);
  CHECK(distance(orth(g), expected) < 1e-12);
  // f32: 15 products, each with an error of a few units in the last place of numbers below 1.
  CHECK(distance(orth(g, 5, DType::f32), expected) < 1e-5);
}

TEST_CASE("Newton-Schulz commutes with transposition and rotation") {
  const Matrix g = gaussian_matrix(40, 60, 2), q = rotation(40, 3), r = rotation(60, 4);
  CHECK(distance(orth(g.transpose()), orth(g).transpose()) < 1e-12);
  CHECK(distance(orth(q * g * r), q * orth(g) * r) < 1e-10);
}

TEST_CASE("Newton-Schulz does not see the scale of a matrix, down to eps") {
  const Matrix g = gaussian_matrix(24, 16, 5);
  for (const double k : {1e-6, 1e-3, 1e3, 1e6}) CHECK(distance(orth(k * g), orth(g)) < 1e-12);
  // Below eps the result shrinks instead of turning rounding noise into a full step.
  const Matrix faint = g * (1e-9 / g.norm());
  CHECK(distance(orth(faint), reference_orth(faint, kEps)) < 1e-12);
  CHECK(orth(faint).norm() < 5);  // 0.01 x slope 485
}

TEST_CASE("a zero matrix stays zero") {
  for (const DType dtype : {DType::f64, DType::f32}) {
    CHECK(orth(Matrix::Zero(3, 5), 5, dtype) == Matrix::Zero(3, 5));
    CHECK(orth(Matrix::Zero(5, 3), 5, dtype) == Matrix::Zero(5, 3));
  }
}

TEST_CASE("a single row or column becomes its unit vector times the polynomial at 1") {
  const double after[] = {.701, 1.11362, .720706, 1.089974, .696436};
  const Matrix row = gaussian_matrix(1, 7, 6);
  for (int steps = 1; steps <= 5; ++steps) {
    // The list is rounded to six digits.
    CHECK(distance(orth(row, steps), row / row.norm() * after[steps - 1]) < 1e-6);
    CHECK(distance(orth(row.transpose(), steps), row.transpose() / row.norm() * after[steps - 1]) <
          1e-6);
  }
}

TEST_CASE("singular values of a wide Gaussian matrix end in Jordan's band") {
  const Eigen::VectorXd s = singular_values(orth(gaussian_matrix(128, 512, 7)));
  CHECK(s.minCoeff() > 0.68);
  CHECK(s.maxCoeff() < 1.14);
}

TEST_CASE("a batch gives what a loop gives, whatever else is in it") {
  const DType dtype = GENERATE(DType::f64, DType::f32);
  const std::vector<std::pair<int, int>> shapes{{33, 65}, {65, 33}, {33, 65}, {33, 33},
                                                {1, 9},   {65, 33}, {33, 65}};
  std::vector<Tensor> batch, alone;
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    batch.push_back(tensor_of(gaussian_matrix(shapes[i].first, shapes[i].second, 10 + i), dtype));
    alone.push_back(batch.back().clone());
  }
  newton_schulz(batch, jordan(5), kEps, Values(batch.size(), 1));
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    newton_schulz({&alone[i], 1}, jordan(5), kEps, kOne);
    // Up to rounding: the tiles of a product may depend on how many there are in its batch.
    CHECK(largest_difference(batch[i].to_vector(), alone[i].to_vector()) <
          (dtype == DType::f64 ? 1e-13 : 1e-5));
  }
}

TEST_CASE("Newton-Schulz gives the same bits on any number of threads") {
  const int before = cpu::threads();
  const auto run = [](int threads) {
    cpu::set_threads(threads);
    std::vector<Tensor> batch{tensor_of(gaussian_matrix(200, 333, 20), DType::f32),
                              tensor_of(gaussian_matrix(200, 333, 21), DType::f32),
                              tensor_of(gaussian_matrix(333, 200, 22), DType::f32)};
    newton_schulz(batch, jordan(5), kEps, Values(batch.size(), 1));
    Values all;
    for (const Tensor& x : batch) {
      const Values v = x.to_vector();
      all.insert(all.end(), v.begin(), v.end());
    }
    return all;
  };
  const Values one = run(1);
  for (const int threads : {2, 3, 8}) CHECK(same_bits(run(threads), one));
  cpu::set_threads(before);
}

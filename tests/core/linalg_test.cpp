#include "core/linalg.h"

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <random>

#include "core/error.h"
#include "tests/support/catch.h"

using namespace muonlab;

namespace {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

Matrix random(int rows, int cols, unsigned seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<double> normal;
  Matrix m(rows, cols);
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < cols; ++j) m(i, j) = normal(engine);
  return m;
}

Tensor tensor(const Matrix& m) {
  return Tensor::from<double>(
      {m.rows(), m.cols()}, std::span<const double>(m.data(), static_cast<std::size_t>(m.size())));
}

Matrix matrix(const Tensor& t) {
  const std::vector<double> v = t.to_vector();
  Matrix m(t.shape()[0], t.shape()[1]);
  std::copy(v.begin(), v.end(), m.data());
  return m;
}

double largest(const Matrix& m) { return m.cwiseAbs().maxCoeff(); }

Matrix identity(Eigen::Index n) { return Matrix::Identity(n, n); }

}  // namespace

TEST_CASE("the polar factor is orthogonal, and symmetric with its matrix") {
  for (const auto& [rows, cols] : {std::pair{5, 9}, std::pair{9, 5}, std::pair{40, 40}}) {
    const Matrix m = random(rows, cols, 1);
    Tensor x = tensor(m);
    linalg::polar({&x, 1}, {&x, 1});
    const Matrix o = matrix(x);
    CHECK(largest(rows <= cols ? Matrix(o * o.transpose() - identity(rows))
                               : Matrix(o.transpose() * o - identity(cols))) < 1e-13);
    const Matrix h = rows <= cols ? Matrix(m * o.transpose()) : Matrix(o.transpose() * m);
    CHECK(largest(h - h.transpose()) < 1e-12);  // and positive: the trace is the nuclear norm
    CHECK(h.trace() > 0.9 * m.norm());
  }
}

TEST_CASE("the polar factor leaves the null space out") {
  const Matrix m = random(6, 2, 2) * random(2, 8, 3);
  Tensor x = tensor(m), zero = Tensor::zeros({3, 4}, DType::f64);
  linalg::polar({&x, 1}, {&x, 1});
  linalg::polar({&zero, 1}, {&zero, 1});
  CHECK(matrix(x).norm() == Approx(std::sqrt(2)));
  CHECK(largest(matrix(zero)) == 0);
}

TEST_CASE("spectral norms") {
  const Matrix a = random(7, 4, 4);
  const Matrix q = [] {
    Tensor x = tensor(random(4, 4, 5));
    linalg::polar({&x, 1}, {&x, 1});
    return matrix(x);
  }();
  const std::vector<Tensor> x{tensor(3 * q), tensor(a), tensor(a * q), tensor(-2 * a),
                              Tensor::zeros({2, 3})};
  const std::vector<double> n = linalg::spectral_norms(x);
  CHECK(n[0] == Approx(3));
  CHECK(n[1] == Approx(n[2]));
  CHECK(n[3] == Approx(2 * n[1]));
  CHECK(n[1] <= a.norm());
  CHECK(n[1] >= a.col(0).norm());
  CHECK(n[4] == 0);
}

TEST_CASE("functions of eigenvalues, and eigenvectors in falling order") {
  const Matrix g = random(6, 6, 6), a = g * g.transpose();
  Tensor x = tensor(a), root = tensor(a), v = tensor(a);
  linalg::on_eigenvalues({&root, 1}, {&x, 1}, [](double l) { return 1 / std::sqrt(std::sqrt(l)); });
  const Matrix r = matrix(root);
  CHECK(largest(r * r * r * r * a - identity(6)) < 1e-9);
  linalg::eigenvectors({&v, 1}, {&x, 1});
  const Matrix d = matrix(v).transpose() * a * matrix(v);
  for (int i = 0; i < 6; ++i)
    for (int j = 0; j < 6; ++j)
      if (i != j) CHECK(std::abs(d(i, j)) < 1e-12);
  for (int i = 0; i + 1 < 6; ++i) CHECK(d(i, i) > d(i + 1, i + 1));
}

TEST_CASE("orthonormal columns span what they were made of") {
  const Matrix m = random(9, 4, 7);
  Tensor x = tensor(m), f32 = Tensor::empty({9, 4});
  std::vector<float> narrow(m.data(), m.data() + m.size());
  f32.copy_from(Tensor::from<float>({9, 4}, std::span<const float>(narrow)));
  for (Tensor* t : {&x, &f32}) {
    linalg::orthonormal_columns({t, 1}, {t, 1});
    const double unit = t->dtype() == DType::f64 ? 1e-14 : 1e-6;
    const Matrix q = matrix(*t);
    CHECK(largest(q.transpose() * q - identity(4)) < unit);
    CHECK(largest(q * q.transpose() * m - m) < 20 * unit);
  }
  Tensor wide = tensor(random(3, 4, 8));
  CHECK_THROWS_AS(linalg::orthonormal_columns({&wide, 1}, {&wide, 1}), ShapeError);
}

#include "core/linalg.h"

#include <fmt/format.h>

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <limits>

#include "core/backend.h"
#include "core/error.h"
#include "core/profile.h"

namespace muonlab::linalg {
namespace {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

Matrix load(const Tensor& x) {
  const std::vector<double> values = x.to_vector();
  Matrix m(x.shape()[0], x.shape()[1]);
  std::copy(values.begin(), values.end(), m.data());
  return m;
}

void store(Tensor d, const Matrix& m) {
  if (d.dtype() == DType::f64) {
    d.copy_from(Tensor::from<double>(
        d.shape(), std::span<const double>(m.data(), static_cast<std::size_t>(m.size()))));
    return;
  }
  const std::vector<float> narrow(m.data(), m.data() + m.size());
  d.copy_from(Tensor::from<float>(d.shape(), std::span<const float>(narrow)));
}

/// Adds f(p, q), the operations for a matrix whose sides are p <= q, to the thread's profile.
template <class F>
void count(std::span<const Tensor> x, const F& f) {
  for (const Tensor& t : x) {
    const auto rows = static_cast<double>(t.shape()[0]), cols = static_cast<double>(t.shape()[1]);
    Profile::count(f(std::min(rows, cols), std::max(rows, cols)));
  }
}

/// f(i, x[i]) for all i, on all cores.
template <class F>
void for_each(std::span<const Tensor> x, const F& f) {
  std::vector<Matrix> loaded;
  for (const Tensor& t : x) loaded.push_back(load(t));
  backend_of(Device{}).for_each(static_cast<std::int64_t>(x.size()), [&](std::int64_t i) {
    f(static_cast<std::size_t>(i), loaded[static_cast<std::size_t>(i)]);
  });
}

/// d[i] = f(x[i])
template <class F>
void transform(std::span<const Tensor> d, std::span<const Tensor> x, const F& f) {
  std::vector<Matrix> results(x.size());
  for_each(x, [&](std::size_t i, const Matrix& m) { results[i] = f(m); });
  for (std::size_t i = 0; i < d.size(); ++i) store(d[i], results[i]);
}

}  // namespace

// Operations: Golub, Van Loan 2013, "Matrix computations", sections 5.2, 8.3 and 8.6, to the
// leading terms, and the products behind them.

void polar(std::span<const Tensor> d, std::span<const Tensor> x) {
  count(x, [](double p, double q) { return 14 * q * p * p + 8 * p * p * p + 2 * p * p * q; });
  transform(d, x, [](const Matrix& m) -> Matrix {
    const Eigen::BDCSVD<Matrix> svd(m, Eigen::ComputeThinU | Eigen::ComputeThinV);
    const Eigen::VectorXd& s = svd.singularValues();
    const double rounding = static_cast<double>(std::max(m.rows(), m.cols())) *
                            std::numeric_limits<double>::epsilon() * s(0);
    const Eigen::VectorXd kept = (s.array() > rounding).cast<double>();
    return svd.matrixU() * kept.asDiagonal() * svd.matrixV().transpose();
  });
}

std::vector<double> spectral_norms(std::span<const Tensor> x) {
  count(x, [](double p, double q) { return 2 * p * p * q + 4 * p * p * p / 3; });
  std::vector<double> norms(x.size());
  for_each(x, [&](std::size_t i, const Matrix& m) {
    // Squaring costs the small singular values their digits, not the largest.
    const Matrix gram = m.rows() > m.cols() ? Matrix(m.transpose() * m) : m * m.transpose();
    const Eigen::SelfAdjointEigenSolver<Matrix> eigen(gram, Eigen::EigenvaluesOnly);
    norms[i] = std::sqrt(std::max(eigen.eigenvalues().maxCoeff(), 0.0));
  });
  return norms;
}

void on_eigenvalues(std::span<const Tensor> d, std::span<const Tensor> x,
                    const std::function<double(double)>& f) {
  count(x, [](double p, double) { return 11 * p * p * p; });
  transform(d, x, [&](const Matrix& m) -> Matrix {
    const Eigen::SelfAdjointEigenSolver<Matrix> eigen(m);
    const Eigen::VectorXd values = eigen.eigenvalues().unaryExpr(f);
    return eigen.eigenvectors() * values.asDiagonal() * eigen.eigenvectors().transpose();
  });
}

void eigenvectors(std::span<const Tensor> d, std::span<const Tensor> x) {
  count(x, [](double p, double) { return 9 * p * p * p; });
  transform(d, x, [](const Matrix& m) -> Matrix {
    return Eigen::SelfAdjointEigenSolver<Matrix>(m).eigenvectors().rowwise().reverse();
  });
}

void orthonormal_columns(std::span<const Tensor> d, std::span<const Tensor> x) {
  for (const Tensor& t : x)
    if (t.shape()[0] < t.shape()[1])
      throw ShapeError(
          fmt::format("[orthonormal_columns] x must have at least as many rows as columns; got {}",
                      t.shape().str()));
  count(x, [](double p, double q) { return 4 * p * p * q - 4 * p * p * p / 3; });
  transform(d, x, [](const Matrix& m) -> Matrix {
    return Eigen::HouseholderQR<Matrix>(m).householderQ() * Matrix::Identity(m.rows(), m.cols());
  });
}

}  // namespace muonlab::linalg

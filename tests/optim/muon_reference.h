#pragma once

#include <Eigen/Core>
#include <Eigen/Eigenvalues>
#include <algorithm>
#include <cmath>
#include <functional>

#include "optim/steps/orthogonalize.h"
#include "tests/optim/optim_cases.h"

// Muon in f64 by eigenvalues, without any Newton-Schulz product: the oracle.
namespace muonlab::testing {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

inline Matrix matrix_of(const Values& v, std::int64_t rows, std::int64_t cols) {
  // Not through Eigen::Map: GCC 12 warns of wide reads that never happen.
  Matrix m(rows, cols);
  std::copy(v.begin(), v.end(), m.data());
  return m;
}
inline Values values_of(const Matrix& m) { return {m.data(), m.data() + m.size()}; }
inline Matrix gaussian_matrix(std::int64_t rows, std::int64_t cols, std::uint64_t seed) {
  return matrix_of(gaussian(rows * cols, seed), rows, cols);
}
inline Tensor tensor_of(const Matrix& m, DType dtype = DType::f64) {
  return tensor_of(Shape{m.rows(), m.cols()}, values_of(m), dtype);
}

/// U f(S) V^T for X = U S V^T, where f(s)/s depends on s^2 alone: f(S)/S acts on the eigenvectors
/// of the smaller Gram matrix.
inline Matrix on_singular_values(const Matrix& x, const std::function<double(double)>& f_over_s) {
  const bool tall = x.rows() > x.cols();
  const Matrix gram = tall ? Matrix(x.transpose() * x) : Matrix(x * x.transpose());
  const Eigen::SelfAdjointEigenSolver<Matrix> eigen(gram);
  Eigen::VectorXd factor = eigen.eigenvalues();
  for (double& l : factor) l = f_over_s(std::sqrt(std::max(l, 0.0)));
  const Matrix m = eigen.eigenvectors() * factor.asDiagonal() * eigen.eigenvectors().transpose();
  return tall ? Matrix(x * m) : Matrix(m * x);
}

inline Eigen::VectorXd singular_values(const Matrix& x) {
  const Matrix gram = x.rows() > x.cols() ? Matrix(x.transpose() * x) : Matrix(x * x.transpose());
  return Eigen::SelfAdjointEigenSolver<Matrix>(gram, Eigen::EigenvaluesOnly)
      .eigenvalues()
      .cwiseMax(0)
      .cwiseSqrt();
}

/// phi_n(... phi_1(s)) / s
inline double composed_over_s(double s, const std::vector<Quintic>& steps) {
  double factor = 1;
  for (const Quintic& q : steps) {
    const double x2 = s * factor * s * factor;
    factor *= q.a + x2 * (q.b + x2 * q.c);
  }
  return factor;
}

/// Newton-Schulz with a given divisor: max(||G||, eps) here, ||G|| + eps in Jordan's own code.
inline Matrix reference_orth(const Matrix& g, double divisor,
                             const std::vector<Quintic>& steps = coefficients("jordan")) {
  return on_singular_values(g / divisor, [&](double s) { return composed_over_s(s, steps); });
}

struct ReferenceMuon {
  double lr = 0.02, momentum = 0.95, decay = 0, eps = 1e-7;
  bool nesterov = true;
  bool additive_eps = false;  ///< ||G|| + eps
  bool sum = false;           ///< M = mu M + G instead of the mean
  bool corrected = false;     ///< the mean divided by the weight that it has collected
  double kappa = 0;           ///< 0: scale `spectral`
  bool full = false;          ///< sqrt(r / c), also below 1
  double safety = 1;
  std::vector<Quintic> steps = coefficients("jordan");
  Matrix m = {};
  int t = 0;

  void step(Matrix& w, const Matrix& g) {
    if (m.size() == 0) m = Matrix::Zero(g.rows(), g.cols());
    ++t;
    const double fresh = sum ? 1 : 1 - momentum;
    m = momentum * m + fresh * g;
    Matrix u = nesterov ? Matrix(fresh * g + momentum * m) : m;
    if (corrected)
      u = momentum * m / (1 - std::pow(momentum, t + 1)) + fresh * g / (1 - std::pow(momentum, t));
    const double n = safety * u.norm();
    const auto r = static_cast<double>(g.rows()), c = static_cast<double>(g.cols());
    double scale = std::sqrt(std::max(1.0, r / c));
    if (full) scale = std::sqrt(r / c);
    if (kappa > 0) scale = kappa * std::sqrt(std::max(r, c));
    const Matrix o = reference_orth(u, additive_eps ? n + eps : std::max(n, eps), steps);
    w -= lr * decay * w + lr * scale * o;
  }
};

}  // namespace muonlab::testing

#include "tests/optim/muon_reference.h"
#include "tests/support/catch.h"

using namespace muonlab;
using namespace muonlab::testing;

// Golden vector: the authors' code (nikhilvyas/SOAP), in f64.
TEST_CASE("soap takes the golden steps") {
  const DType dtype = GENERATE(DType::f64, DType::f32);
  const Values w = golden_run(
      {{"optimizer", "soap"}, {"lr", "0.01"}, {"weight_decay", "0.01"}, {"soap.interval", "2"}},
      dtype);
  // f32: what the bases have to tell apart lies in squares of the gradient.
  CHECK(largest_difference(w, {.50349816, -.31043189, .78045462, -.12426637, .40515271,
                               -.60992257}) < (dtype == DType::f64 ? 1e-8 : 2e-5));
}

TEST_CASE("soap without bases is adam one update late, with eps outside the bias correction") {
  std::vector<Parameter> params{parameter({"w", ParamKind::matrix, {3, 4}, {}, ""}, Values(12, 0))};
  Optimizer optimizer(params,
                      configured({{"optimizer", "soap"}, {"lr", "0.1"}, {"soap.max_dim", "2"}}));
  Values w(12, 0), m = w, v = w;
  for (int t = 0; t < 5; ++t) {
    const Values g = gaussian(12, 50 + static_cast<std::uint64_t>(t));
    set_grad(params[0], g);
    optimizer.step();
    if (t == 0) {
      CHECK(weights(params) == w);
      continue;
    }
    const double c = 1 - std::pow(0.95, t);
    for (std::size_t i = 0; i < 12; ++i) {
      m[i] = 0.95 * m[i] + 0.05 * g[i];
      v[i] = 0.95 * v[i] + 0.05 * g[i] * g[i];
      w[i] -= 0.1 * std::sqrt(c) / c * m[i] / (std::sqrt(v[i]) + 1e-8);
    }
    CHECK(largest_difference(weights(params), w) < 1e-13);
  }
}

TEST_CASE("soap's bases stay orthonormal, and find the eigenvectors of statistics that stay") {
  const Matrix g = gaussian_matrix(6, 8, 60);
  for (const DType dtype : {DType::f64, DType::f32}) {
    std::vector<Parameter> params{
        parameter({"w", ParamKind::matrix, {6, 8}, {}, ""}, Values(48, 0), dtype)};
    Optimizer optimizer(params,
                        configured({{"optimizer", "soap"}, {"lr", "0"}, {"soap.interval", "1"}}));
    // First other gradients, so that the bases have a way to go.
    for (std::uint64_t t = 0; t < 60; ++t) {
      set_grad(params[0], values_of(t < 3 ? gaussian_matrix(6, 8, 61 + t) : g));
      optimizer.step();
    }
    for (const NamedTensor& s : optimizer.state()) {
      if (s.name != "opt/w/left_basis") continue;
      const Matrix q = matrix_of(s.tensor.to_vector(), 6, 6);
      CHECK((q.transpose() * q - Matrix::Identity(6, 6)).cwiseAbs().maxCoeff() <
            (dtype == DType::f64 ? 1e-14 : 1e-6));
      const Matrix turned = q.transpose() * g * g.transpose() * q;
      Matrix off = turned;
      off.diagonal().setZero();
      CHECK(off.cwiseAbs().maxCoeff() < 0.05 * turned.cwiseAbs().maxCoeff());
      for (int i = 0; i + 1 < 6; ++i) CHECK(turned(i, i) > turned(i + 1, i + 1));
    }
  }
}

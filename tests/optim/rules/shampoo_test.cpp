#include "tests/optim/muon_reference.h"
#include "tests/support/catch.h"

using namespace muonlab;
using namespace muonlab::testing;

namespace {

using Settings = std::map<std::string, std::string>;

Matrix run(Settings settings, std::int64_t rows, std::int64_t cols, int updates) {
  settings.insert({{"optimizer", "shampoo"}, {"lr", "1"}});
  std::vector<Parameter> params{parameter({"w", ParamKind::matrix, {rows, cols}, {}, ""},
                                          Values(static_cast<std::size_t>(rows * cols), 0))};
  Optimizer optimizer(params, configured(settings));
  for (int t = 0; t < updates; ++t) {
    set_grad(params[0], values_of(gaussian_matrix(rows, cols, 40 + static_cast<std::uint64_t>(t))));
    optimizer.step();
  }
  return -matrix_of(weights(params), rows, cols);
}

Matrix power(const Matrix& a, double eps, double exponent) {
  const Eigen::SelfAdjointEigenSolver<Matrix> eigen(a);
  const Eigen::VectorXd l =
      eigen.eigenvalues().unaryExpr([&](double x) { return std::pow(x + eps, exponent); });
  return eigen.eigenvectors() * l.asDiagonal() * eigen.eigenvectors().transpose();
}

double distance(const Matrix& a, const Matrix& b) { return (a - b).cwiseAbs().maxCoeff(); }

}  // namespace

// Golden vector: the paper's algorithm 1, in f64.
TEST_CASE("shampoo takes the golden steps of the paper") {
  const DType dtype = GENERATE(DType::f64, DType::f32);
  const Values w =
      golden_run({{"optimizer", "shampoo"}, {"lr", "0.1"}, {"shampoo.preset", "paper"}}, dtype);
  // f32: G G^T has the square of the condition of G, of about 6 here, and eps 1e-4 beside it.
  CHECK(largest_difference(w, {.52289094, -.30770019, .83434085, -.07894433, .37672993,
                               -.61319456}) < (dtype == DType::f64 ? 1e-8 : 2e-5));
}

TEST_CASE("shampoo without accumulation is the polar factor, so muon") {
  // A first update with eps near 0: (G G^T)^(-1/4) G (G^T G)^(-1/4).
  const Matrix g = gaussian_matrix(7, 7, 40);
  const Matrix polar = on_singular_values(g, [](double s) { return 1 / s; });
  CHECK(distance(run({{"shampoo.preset", "paper"}, {"shampoo.eps", "1e-14"}}, 7, 7, 1), polar) <
        1e-6);
}

TEST_CASE("shampoo in practice: means, roots now and then, and a grafted length") {
  // Beta 0.5 and 0.25, roots every second update from the first that uses them.
  const std::int64_t rows = 5, cols = 8;
  for (const std::string graft : {"none", "sgd", "adam"})
    for (const int start : {0, 1}) {
      if (graft == "none" && start > 0) continue;
      const double eps = 1e-3;
      Matrix w = Matrix::Zero(rows, cols), m = w, v = w, l = Matrix::Zero(rows, rows),
             r = Matrix::Zero(cols, cols), left, right;
      for (int t = 1; t <= 4; ++t) {
        const Matrix g = gaussian_matrix(rows, cols, 39 + static_cast<std::uint64_t>(t));
        m = 0.5 * m + 0.5 * g;
        v = 0.25 * v + 0.75 * g.cwiseProduct(g);
        l = 0.25 * l + 0.75 * g * g.transpose();
        r = 0.25 * r + 0.75 * g.transpose() * g;
        const double c1 = 1 - std::pow(0.5, t), c2 = 1 - std::pow(0.25, t);
        if (t > start && (t - start) % 2 == 1) {
          left = power(l / c2, eps, -0.25);
          right = power(r / c2, eps, -0.25);
        }
        const Matrix u = t > start ? Matrix(left * m * right / c1) : m;
        Matrix step = u;
        if (graft == "sgd") step = m / c1;
        if (graft == "adam")
          step = (m / c1).cwiseQuotient(
              (v / c2).unaryExpr([&](double x) { return std::sqrt(x) + eps; }));
        w += t <= start ? step : Matrix(u * (step.norm() / u.norm()));
      }
      INFO(graft << ", " << start);
      CHECK(distance(run({{"shampoo.graft", graft},
                          {"shampoo.beta1", "0.5"},
                          {"shampoo.beta2", "0.25"},
                          {"shampoo.eps", "1e-3"},
                          {"shampoo.interval", "2"},
                          {"shampoo.start_step", std::to_string(start)}},
                         rows, cols, 4),
                     w) < 1e-10);
    }
}

TEST_CASE("a side above shampoo.max_dim has no preconditioner, and the other one the power -1/2") {
  const Matrix g = gaussian_matrix(4, 9, 40);
  const Matrix polar = on_singular_values(g, [](double s) { return 1 / s; });
  const Settings paper{
      {"shampoo.preset", "paper"}, {"shampoo.eps", "1e-14"}, {"shampoo.max_dim", "8"}};
  CHECK(distance(run(paper, 4, 9, 1), polar) < 1e-6);  // (G G^T)^(-1/2) G
  CHECK(distance(run({{"shampoo.preset", "paper"}, {"shampoo.max_dim", "3"}}, 4, 9, 1), g) < 1e-14);
}

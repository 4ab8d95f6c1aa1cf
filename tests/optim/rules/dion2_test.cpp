#include "tests/optim/muon_reference.h"
#include "tests/support/catch.h"

using namespace muonlab;
using namespace muonlab::testing;

// By hand from microsoft/dion, dion2.py.
TEST_CASE("dion2 orthogonalises the largest rows of the momentum, and lets them fade") {
  const bool tall = GENERATE(false, true);
  const auto turn = [&](const Matrix& m) { return tall ? Matrix(m.transpose()) : m; };
  const std::int64_t rows = tall ? 12 : 8, cols = tall ? 8 : 12;
  std::vector<Parameter> params{
      parameter({"w", ParamKind::matrix, {rows, cols}, {}, ""}, Values(96, 0))};
  Optimizer optimizer(params, configured({{"optimizer", "dion2"},
                                          {"lr", "0.5"},
                                          {"dion2.fraction", "0.3"},
                                          {"dion2.momentum", "0.75"}}));
  Matrix w = Matrix::Zero(8, 12), m = w;
  for (std::uint64_t t = 0; t < 4; ++t) {
    const Matrix g = gaussian_matrix(8, 12, 30 + t);
    set_grad(params[0], values_of(turn(g)));
    optimizer.step();
    m += g;
    std::vector<int> order{0, 1, 2, 3, 4, 5, 6, 7};
    const Eigen::VectorXd sums = m.cwiseAbs().rowwise().sum();
    std::sort(order.begin(), order.end(), [&](int a, int b) { return sums(a) > sums(b); });
    Matrix part(3, 12);  // 0.3 x 8 rows, rounded up
    for (int i = 0; i < 3; ++i) part.row(i) = m.row(order[static_cast<std::size_t>(i)]);
    const Matrix o = reference_orth(part, part.norm());
    for (int i = 0; i < 3; ++i) {
      const int k = order[static_cast<std::size_t>(i)];
      w.row(k) -= 0.5 * std::sqrt(static_cast<double>(rows) / static_cast<double>(cols)) * o.row(i);
      m.row(k) *= 0.75;
    }
    CHECK(largest_difference(weights(params), values_of(turn(w))) < 1e-13);
  }
}

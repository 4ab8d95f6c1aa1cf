#include "optim/steps/orthogonalize.h"

#include <tuple>
#include <vector>

#include "core/cpu/parallel.h"
#include "core/math.h"
#include "tests/optim/muon_reference.h"
#include "tests/support/catch.h"

using namespace muonlab;
using namespace muonlab::testing;

namespace {

constexpr double kEps = 1e-7;
const Values kOne{1};

Orthogonalization jordan(int steps) { return {.steps = steps}; }

Matrix orth(const Matrix& g, const Orthogonalization& how, DType dtype = DType::f64) {
  Tensor x = tensor_of(g, dtype);
  orthogonalize({&x, 1}, how, kOne);
  return matrix_of(x.to_vector(), g.rows(), g.cols());
}
Matrix orth(const Matrix& g, int steps = 5, DType dtype = DType::f64) {
  return orth(g, jordan(steps), dtype);
}

const auto inverse_root = [](double x) { return 1 / std::sqrt(x); };

double distance(const Matrix& a, const Matrix& b) { return (a - b).cwiseAbs().maxCoeff(); }

/// A random orthogonal matrix.
Matrix rotation(std::int64_t n, std::uint64_t seed) {
  return on_singular_values(gaussian_matrix(n, n, seed), [](double s) { return 1 / s; });
}

}  // namespace

TEST_CASE("every set gives its golden matrix") {
  // Computed once in f64 from ||G|| + 1e-7, rounded to nine digits.
  const Values limit{-.577791827, .115116695, .808025217, .706746021, .565757439, .424768857};
  struct Case {
    Orthogonalization how;
    Values golden;
  };
  const Case c = GENERATE_COPY(
      values<Case>({{{.coefficients = "svd"}, limit},
                    {{.coefficients = "simple"}, limit},
                    {{.coefficients = "cubic"}, limit},
                    {{.coefficients = "pe", .steps = 8, .safety = 1.01}, limit},
                    {{.coefficients = "jordan"},
                     {-.568290110, .057741943, .683773996, .563354698, .405612831, .247870965}},
                    {{.coefficients = "you5"},
                     {-.591517906, .110996911, .813511729, .707256095, .560561937, .413867780}},
                    {{.coefficients = "v4"},
                     {-.578025765, .115088309, .808202383, .706854058, .565782612, .424711167}},
                    {{.coefficients = "pe", .safety = 1.01},
                     {-.595342960, .126005964, .847354889, .745771385, .603041261, .460311136}},
                    {{.coefficients = "cubic5"},
                     {-.530054256, .163416689, .856887634, .785655329, .676187861, .566720393}}}));
  Orthogonalization how = c.how;
  how.eps_form = EpsForm::add;
  INFO(how.coefficients << " x " << how.steps);
  Matrix m(2, 3);
  m << 1, 2, 3, 4, 5, 6;
  const Matrix golden = matrix_of(c.golden, 2, 3);
  CHECK(distance(orth(m, how), golden) < 1e-9);
  CHECK(distance(orth(m.transpose(), how), golden.transpose()) < 1e-9);
  // f32: a step adds terms of up to 24 that nearly cancel, each rounded by 6e-8 of itself.
  CHECK(distance(orth(m, how, DType::f32), golden) < 1e-5);
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
  orthogonalize(batch, jordan(5), Values(batch.size(), 1));
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    orthogonalize({&alone[i], 1}, jordan(5), kOne);
    // Up to rounding: the tiles of a product may depend on how many there are in its batch.
    CHECK(largest_difference(batch[i].to_vector(), alone[i].to_vector()) <
          (dtype == DType::f64 ? 1e-13 : 1e-5));
  }
}

TEST_CASE("each norm divides by what it says") {
  const std::pair<int, int> shape = GENERATE(std::pair{24, 40}, std::pair{40, 24});
  const Matrix g = gaussian_matrix(shape.first, shape.second, 8);
  const bool tall = g.rows() > g.cols();
  const Eigen::VectorXd s = singular_values(g);
  CHECK(distance(orth(g, {.norm = PreNorm::spectral}), reference_orth(g, s.maxCoeff())) < 1e-12);
  const double fourth = std::pow(s.array().square().square().sum(), 0.25);
  CHECK(distance(orth(g, {.norm = PreNorm::schatten4}), reference_orth(g, fourth)) < 1e-12);

  const Matrix gram = tall ? Matrix(g.transpose() * g) : Matrix(g * g.transpose());
  const Eigen::VectorXd lengths = gram.cwiseAbs().rowwise().sum().unaryExpr(inverse_root);
  const Matrix aol = tall ? Matrix(g * lengths.asDiagonal()) : Matrix(lengths.asDiagonal() * g);
  CHECK(singular_values(aol).maxCoeff() <= 1);
  CHECK(distance(orth(g, {.norm = PreNorm::aol}), reference_orth(aol, 1)) < 1e-12);

  const Matrix rows =
      g.rowwise().norm().cwiseInverse().asDiagonal() * g / std::sqrt(static_cast<double>(g.rows()));
  Matrix snapped = reference_orth(rows, 1);
  snapped *= std::sqrt(static_cast<double>(s.size())) / snapped.norm();
  CHECK(distance(orth(g, {.norm = PreNorm::rows}), snapped) < 1e-12);
}

TEST_CASE("eps bounds the norm or is added to it, behind the safety factor") {
  const Matrix g = gaussian_matrix(6, 9, 9);
  const double n = g.norm();
  for (const PreNorm norm : {PreNorm::frobenius, PreNorm::spectral}) {
    const double size = norm == PreNorm::frobenius ? n : singular_values(g).maxCoeff();
    CHECK(distance(orth(g, {.norm = norm, .eps = 0.5, .safety = 1.25}),
                   reference_orth(g, 1.25 * size)) < 1e-12);
    CHECK(distance(orth(g, {.norm = norm, .eps = 0.5, .eps_form = EpsForm::add, .safety = 1.25}),
                   reference_orth(g, 1.25 * size + 0.5)) < 1e-12);
    const Matrix faint = g * (0.1 / size);
    CHECK(distance(orth(faint, {.norm = norm, .eps = 0.5}), reference_orth(faint, 0.5)) < 1e-12);
  }
}

TEST_CASE("every norm and every form leaves a zero matrix zero") {
  for (const DType dtype : {DType::f64, DType::f32})
    for (const PreNorm norm :
         {PreNorm::frobenius, PreNorm::spectral, PreNorm::schatten4, PreNorm::aol, PreNorm::rows})
      for (const bool gram : {false, true})
        for (const char* set : {"jordan", "svd"}) {
          CHECK(orth(Matrix::Zero(3, 5), {.coefficients = set, .norm = norm, .gram = gram},
                     dtype) == Matrix::Zero(3, 5));
          CHECK(orth(Matrix::Zero(5, 3), {.coefficients = set, .norm = norm, .gram = gram},
                     dtype) == Matrix::Zero(5, 3));
        }
}

TEST_CASE("the Gram form is the same polynomial") {
  const std::pair<int, int> shape = GENERATE(std::pair{32, 128}, std::pair{128, 32});
  const Matrix g = gaussian_matrix(shape.first, shape.second, 11);
  for (const char* set : {"jordan", "v4", "pe", "cubic5"})
    for (const int steps : {1, 2, 3, 5}) {
      const Matrix plain = orth(g, {.coefficients = set, .steps = steps});
      INFO(set << " x " << steps);
      CHECK(distance(orth(g, {.coefficients = set, .steps = steps, .gram = true}), plain) < 1e-12);
      CHECK(distance(orth(g, {.coefficients = set, .steps = steps, .gram = true}, DType::f32),
                     plain) < 2e-5);
    }
}

TEST_CASE("the Gram form, which starts anew after two steps, endures rank deficiency in f32") {
  // Without that, rounding in the null space grows to hundreds in ten steps.
  const Matrix g = gaussian_matrix(64, 32, 12) * gaussian_matrix(32, 256, 13);
  const Matrix x = orth(g, {.coefficients = "v4", .gram = true}, DType::f32);
  CHECK(singular_values(x).maxCoeff() < 10);
  CHECK(singular_values(x).maxCoeff() > 0.99);
}

TEST_CASE("products in the iteration are symmetric to the bit and close to the plain ones") {
  const Tensor x = tensor_of(gaussian_matrix(150, 333, 14), DType::f32);
  Tensor half = Tensor::empty({150, 150}), full = Tensor::empty({150, 150});
  math::gemm(half, x, math::Op::plain, x, math::Op::transposed, 1, 0, true);
  math::gemm(full, x, math::Op::plain, x, math::Op::transposed);
  const Matrix h = matrix_of(half.to_vector(), 150, 150);
  CHECK(h == h.transpose());
  // Two units in the last place of the largest term, times sqrt(q) of the sum.
  const double bound = 2 * 0x1p-23 * h.cwiseAbs().maxCoeff() * std::sqrt(333.0);
  CHECK(largest_difference(half.to_vector(), full.to_vector()) < bound);
}

TEST_CASE("Newton-Schulz gives the same bits on any number of threads") {
  const int before = cpu::threads();
  const auto run = [](int threads) {
    cpu::set_threads(threads);
    std::vector<Tensor> batch{tensor_of(gaussian_matrix(200, 333, 20), DType::f32),
                              tensor_of(gaussian_matrix(200, 333, 21), DType::f32),
                              tensor_of(gaussian_matrix(333, 200, 22), DType::f32)};
    orthogonalize(batch, jordan(5), Values(batch.size(), 1));
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

namespace {

/// Rounds to the eight bits of bf16, to the nearest, ties to even.
Matrix bf16(Matrix m) {
  for (double& x : m.reshaped()) {
    int exponent = 0;
    const double mantissa = std::frexp(x, &exponent);
    x = std::ldexp(std::nearbyint(mantissa * 256), exponent - 8);
  }
  return m;
}

/// The iteration as it runs in bf16: products and what is stored are rounded.
Matrix orth_bf16(const Matrix& g, const Orthogonalization& how) {
  Matrix x = bf16(g);
  if (how.norm == PreNorm::aol) {
    const Eigen::VectorXd s =
        bf16(x * x.transpose()).cwiseAbs().rowwise().sum().unaryExpr(inverse_root);
    x = bf16(s.asDiagonal() * x);
  } else {
    x = bf16(x / (how.safety * x.norm()));
  }
  for (const Quintic& q : coefficients(how.coefficients, how.steps)) {
    const Matrix a = bf16(x * x.transpose());
    const Matrix b = bf16(q.b * a + q.c * bf16(a * a));
    x = bf16(q.a * x + bf16(b * x));
  }
  return x;
}

struct Quality {
  double low, high, mean, to_polar, to_orthogonal, cosine, rms;
};

Quality quality(const Matrix& x, const Matrix& polar) {
  const Eigen::VectorXd s = singular_values(x);
  const auto p = static_cast<double>(s.size());
  const Matrix gram = x * x.transpose();
  return {s.minCoeff(),
          s.maxCoeff(),
          s.mean(),
          (x - polar).norm() / polar.norm(),
          (gram - Matrix::Identity(gram.rows(), gram.cols())).norm() / std::sqrt(p),
          x.cwiseProduct(polar).sum() / (x.norm() * polar.norm()),
          x.norm() / std::sqrt(p)};
}

}  // namespace

TEST_CASE("what the sets do to Gaussian matrices, in f64 and in bf16") {
  // A published table of one seed, stable to about 2% (rms: times sqrt(q)).
  struct Case {
    int rows, cols;
    Orthogonalization how;
    double mean, polar, polar_bf16, orthogonal, orthogonal_bf16, cosine, rms;
  };
  const Case c = GENERATE_COPY(values<Case>({
      {128, 512, {.coefficients = "jordan"}, .852, .217, .217, .380, .380, .983, .867},
      {128, 512, {.coefficients = "pe", .safety = 1.01}, .996, .086, .089, .172, .171, .996, 1},
      {128, 512, {.coefficients = "v4"}, 1, 2e-4, .012, 5e-4, .0038, 1, 1},
      {128, 512, {.coefficients = "you5"}, 1, .018, .022, .036, .037, 1, 1},
      {128,
       512,
       {.coefficients = "aol4", .norm = PreNorm::aol},
       1.009,
       .032,
       .035,
       .062,
       .064,
       .9995,
       1.009},
      {128, 512, {.coefficients = "cubic5"}, 1.045, .188, .188, .400, .400, .985, 1.060},
      {128, 512, {.coefficients = "simple"}, 1, 0, .005, 0, .0032, 1, 1},
      {128, 512, {.coefficients = "pe", .steps = 8, .safety = 1.01}, 1, 0, .024, 0, .0024, 1, 1},
      {384, 1536, {.coefficients = "jordan"}, .966, .144, .146, .271, .273, .990, .976},
  }));
  INFO(c.how.coefficients << " x " << c.how.steps << ", " << c.rows << " x " << c.cols);
  const Matrix g = gaussian_matrix(c.rows, c.cols, 31);
  const Matrix polar = on_singular_values(g, [](double s) { return 1 / s; });
  const Quality x = quality(orth(g, c.how), polar), b = quality(orth_bf16(g, c.how), polar);
  CAPTURE(x.low, x.high, x.mean, x.to_polar, x.to_orthogonal, x.cosine, x.rms);
  CAPTURE(b.low, b.high, b.mean, b.to_polar, b.to_orthogonal, b.cosine, b.rms);
  const auto near = [](double got, double want, double share) {
    return std::abs(got - want) < share * want + 5e-4;  // half a unit of the last digit given
  };
  CHECK(near(x.mean, c.mean, 0.02));
  CHECK(near(x.to_polar, c.polar, 0.05));
  CHECK(near(x.to_orthogonal, c.orthogonal, 0.05));
  CHECK(near(x.cosine, c.cosine, 0.002));
  CHECK(near(x.rms, c.rms, 0.02));
  CHECK(near(b.to_polar, c.polar_bf16, 0.05));
  CHECK(near(b.to_orthogonal, c.orthogonal_bf16, 0.05));
}

TEST_CASE("a nearly null direction of a square matrix is not reached, but by v4") {
  // Singular values down to 3.6e-5 of the norm.
  Eigen::VectorXd s(128);
  for (int i = 0; i < 128; ++i) s(i) = std::pow(1e-4, i / 127.0);
  s *= 1 / s.norm();
  const Matrix g = rotation(128, 32) * s.asDiagonal() * rotation(128, 33);
  const double least = s.minCoeff();
  for (const char* set : {"jordan", "pe", "v4"}) {
    const std::vector<Quintic> list = coefficients(set);
    const double expected = composed_over_s(least, list) * least;
    const Eigen::VectorXd reached = singular_values(orth(g, {.coefficients = set}));
    INFO(set << ": " << expected);
    CHECK(reached.minCoeff() == Approx(expected).epsilon(1e-3));
    CHECK((reached.minCoeff() > 0.99) == (set == std::string("v4")));
  }
}

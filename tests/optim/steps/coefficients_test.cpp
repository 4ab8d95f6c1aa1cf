#include "optim/steps/coefficients.h"

#include <Eigen/Dense>
#include <algorithm>
#include <array>
#include <cmath>

#include "core/error.h"
#include "tests/support/catch.h"

using namespace muonlab;

namespace {

double apply(const Quintic& q, double x) { return x * (q.a + x * x * (q.b + x * x * q.c)); }

/// Amsel et al. 2025, "The Polar Express": the odd quintic nearest to 1 on [l, 1], which
/// equioscillates at l, q, r and 1, by exchange of the inner points.
Quintic best_quintic(double l) {
  if (l >= 1 - 5e-6) return {1.875, -1.25, 0.375};
  double q = (3 * l + 1) / 4, r = (l + 3) / 4, error = 0;
  for (int i = 0; i < 1000; ++i) {
    Eigen::Matrix4d rows;
    int k = 0;
    for (const double x : {l, q, r, 1.0}) {
      rows.row(k) << x, x * x * x, std::pow(x, 5), k % 2 == 0 ? 1 : -1;
      ++k;
    }
    const Eigen::Vector4d solution = rows.fullPivLu().solve(Eigen::Vector4d::Ones());
    const double a = solution(0), b = solution(1), c = solution(2);
    const double root = std::sqrt(9 * b * b - 20 * a * c);
    q = std::sqrt((-3 * b - root) / (10 * c));
    r = std::sqrt((-3 * b + root) / (10 * c));
    if (std::abs(solution(3) - error) <= 1e-15) return {a, b, c};
    error = solution(3);
  }
  throw Error("the exchange does not converge");
}

/// The published procedure: one best quintic after another on the interval that the last one left.
/// Where the interval is too wide for the bound `cushion`, a narrower one is used and the result
/// centred on 1.
std::vector<Quintic> compose(double l, int steps, double cushion, double safety) {
  std::vector<Quintic> list;
  double u = 1;
  for (int k = 0; k < steps; ++k) {
    Quintic p = best_quintic(std::max(l, cushion * u) / u);
    p = {p.a / u, p.b / std::pow(u, 3), p.c / std::pow(u, 5)};
    if (cushion * u > l) {
      const double centre = 2 / (apply(p, l) + apply(p, u));
      p = {p.a * centre, p.b * centre, p.c * centre};
    }
    if (k + 1 < steps) p = {p.a / safety, p.b / std::pow(safety, 3), p.c / std::pow(safety, 5)};
    list.push_back(p);
    l = apply(p, l);
    u = 2 - l;
    l = std::min(l, u);
  }
  return list;
}

/// Smallest and largest value over [l, 1].
std::pair<double, double> band(const std::vector<Quintic>& list, double l) {
  constexpr int kPoints = 200000;
  double low = 1e9, high = 0;
  for (int i = 0; i <= kPoints; ++i) {
    double x = std::pow(l, 1 - static_cast<double>(i) / kPoints);
    for (const Quintic& q : list) x = apply(q, x);
    low = std::min(low, x);
    high = std::max(high, x);
  }
  return {low, high};
}

std::vector<Quintic> divided(std::vector<Quintic> list, double by) {
  for (Quintic& q : list) q = {q.a / by, q.b / std::pow(by, 3), q.c / std::pow(by, 5)};
  return list;
}

void check_equal(const std::vector<Quintic>& got, const std::vector<Quintic>& want,
                 double relative) {
  REQUIRE(got.size() == want.size());
  for (std::size_t k = 0; k < got.size(); ++k) {
    INFO("step " << k + 1);
    CHECK(std::abs(got[k].a - want[k].a) < relative * std::abs(want[k].a));
    CHECK(std::abs(got[k].b - want[k].b) < relative * std::abs(want[k].b));
    CHECK(std::abs(got[k].c - want[k].c) < relative * std::abs(want[k].c));
  }
}

}  // namespace

TEST_CASE("Polar Express coefficients are what the published procedure computes") {
  std::vector<Quintic> computed = divided(compose(1e-3, 7, 0.02407327424182761, 1), 1.01);
  computed.push_back({1.875, -1.25, 0.375});
  check_equal(coefficients("pe", 8), computed, 1e-9);
}

TEST_CASE("the list of microsoft/dion is Polar Express with other margins") {
  check_equal(compose(1e-3, 5, 0.02, 1.02),
              coefficients("8.156554524902461 -22.48329292557795 15.878769915207462; "
                           "4.042929935166739 -2.808917465908714 0.5000178451051316; "
                           "3.8916678022926607 -2.772484153217685 0.5060648178503393; "
                           "3.285753657755655 -2.3681294933425376 0.46449024233003106; "
                           "2.3465413258596377 -1.7097828382687081 0.42323551169305323"),
              1e-9);
}

TEST_CASE("where each set takes singular values from [l, 1]") {
  struct Case {
    const char* set;
    int steps;
    double l, low, high, slope;
  };
  // A published table; the digits that it has.
  for (const auto& [set, steps, l, low, high, slope] : std::vector<Case>{
           {"jordan", 5, 1e-1, .6818, 1.1344, 484.9},   {"jordan", 5, 1e-2, .6818, 1.1344, 484.9},
           {"jordan", 5, 1e-3, .4705, 1.2024, 484.9},   {"jordan", 5, 1e-4, .0485, 1.2024, 484.9},
           {"jordan", 10, 1e-4, .6818, 1.1344, 2.35e5}, {"simple", 0, 1e-3, 1, 1, 4096},
           {"simple", 0, 1e-4, .393, 1.0018, 4096},     {"cubic", 5, 1e-1, .6587, 1, 7.6},
           {"cubic", 5, 1e-2, .0758, 1, 7.6},           {"cubic", 15, 1e-3, .4165, 1, 437.9},
           {"cubic", 15, 1e-4, .0438, 1, 437.9},        {"taylor5", 0, 1e-2, .9427, 1, 152.8},
           {"taylor5", 0, 1e-3, .1518, 1, 152.8},       {"taylor5", 0, 1e-4, .0153, 1, 152.8},
           {"v4", 0, 1e-3, 1.0000, 1.0005, 7.93e4},     {"you5", 0, 1e-2, .9778, 1.0318, 492.7},
           {"you5", 0, 1e-3, .4750, 1.1450, 492.7},     {"you5", 0, 1e-4, .0493, 1.145, 492.7},
           {"cubic5", 0, 1e-2, .7741, 1.3000, 119.3},   {"cubic5", 0, 1e-3, .1191, 1.3, 119.3}}) {
    INFO(set << " x " << steps << " from " << l);
    const std::vector<Quintic> list = coefficients(set, steps);
    const auto [lowest, highest] = band(list, l);
    CHECK(std::abs(lowest - low) < 1.1e-4 + 3e-4 * (low == .393));
    CHECK(std::abs(highest - high) < 1.1e-4);
    double product = 1;
    for (const Quintic& q : list) product *= q.a;
    CHECK(product == Approx(slope).epsilon(2e-3));
  }
  // Polar Express starts from a norm 1.01 times too long.
  for (const auto& [set, steps, l, low, high, slope] :
       std::vector<Case>{{"pe", 5, 1e-2, .8703, 1.1236, 976.3},
                         {"pe", 5, 1e-3, .8462, 1.1236, 976.3},
                         {"pe", 5, 1e-4, .0975, 1.1236, 976.3},
                         {"pe", 6, 1e-2, .9974, 1.0012, 1828},
                         {"pe", 6, 1e-3, .9944, 1.0012, 1828},
                         {"pe", 6, 1e-4, .1814, 1.0012, 1828},
                         {"pe", 7, 1e-4, .3296, 1, 3394},
                         {"pe", 8, 1e-4, .5747, 1, 6363}}) {
    INFO(set << " x " << steps << " from " << l);
    std::vector<Quintic> list = coefficients(set, steps);
    const auto [lowest, highest] = band(list, l);
    CHECK(std::abs(lowest - low) < 1.1e-4);
    CHECK(std::abs(highest - high) < 1.1e-4);
    double product = 1;
    for (const Quintic& q : list) product *= q.a;
    CHECK(product == Approx(slope).epsilon(2e-3));
  }
}

TEST_CASE("sets by name, by hand, and cut or stretched") {
  CHECK(coefficients("jordan").size() == 5);
  CHECK(coefficients("v4").size() == 10);
  CHECK(coefficients("jordan", 2) == std::vector<Quintic>(2, {3.4445, -4.7750, 2.0315}));
  CHECK(coefficients("1.5 -.5; 2 -1.5 .5") == std::vector<Quintic>{{1.5, -.5, 0}, {2, -1.5, .5}});
  CHECK(coefficients("1.5,-.5;2, -1.5, 0.5", 3) ==
        std::vector<Quintic>{{1.5, -.5, 0}, {2, -1.5, .5}, {2, -1.5, .5}});
  CHECK(coefficients("1 2 3; 4 5 6", 1) == std::vector<Quintic>{{1, 2, 3}});
  for (const std::string bad :
       {"", "jordn", "1", "1 2 3 4", "1 2 3;", "1 two", "1 inf", "1 2;;3 4"})
    CHECK_THROWS_AS(coefficients(bad), ConfigError);
  try {
    coefficients("jordn");
  } catch (const ConfigError& error) {
    CHECK(std::string(error.what()).find("did you mean 'jordan'?") != std::string::npos);
  }
}

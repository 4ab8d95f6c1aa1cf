#include "core/rng.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>
#include <set>
#include <vector>

#include "tests/support/catch.h"

using namespace muonlab;

namespace {

using Block = std::array<std::uint32_t, 4>;

// Statistics are allowed five standard errors. Seeds are fixed, so a test passes always or never;
// a sound generator fails one of these with a chance below 1e-6.
constexpr double kSigmas = 5;

double correlation(const std::vector<double>& x, const std::vector<double>& y) {
  double sum = 0;  // both uniform on [0, 1): mean 1/2, variance 1/12
  for (std::size_t i = 0; i < x.size(); ++i) sum += (x[i] - 0.5) * (y[i] - 0.5);
  return 12 * sum / static_cast<double>(x.size());
}

std::vector<double> uniforms(const Rng& rng, std::size_t n, std::uint64_t first = 0) {
  std::vector<double> u(n);
  for (std::size_t i = 0; i < n; ++i) u[i] = rng.uniform(first + i);
  return u;
}

}  // namespace

// Source: Random123 1.09, tests/kat_vectors, lines "philox4x32 10".
TEST_CASE("philox: known answers") {
  constexpr std::uint32_t kOnes = 0xffffffff;
  CHECK(philox({0, 0, 0, 0}, {0, 0}) == Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(philox({kOnes, kOnes, kOnes, kOnes}, {kOnes, kOnes}) ==
        Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

// The expected numbers come from an independent implementation in Python, with the logarithm and
// the cosine in 40 decimal digits. They are part of what a seed means: a change breaks the promise
// that a seed gives the same run.
TEST_CASE("rng: pinned bits and normals") {
  const Rng zero(0, RngPurpose::init);
  const Rng weights(1337, RngPurpose::init, stream_of("wte.weight"));
  const Rng last(UINT64_MAX, RngPurpose::test, UINT64_MAX);
  CHECK(zero.bits(0) == 0xa3b3cc6cdc82ab0c);
  CHECK(zero.bits(1) == 0x75fc1a99d9766aeb);
  CHECK(weights.bits(123456) == 0x59fb11ff0b96e0c3);
  CHECK(last.bits(UINT64_MAX) == 0x3f735328263d2789);

  const auto close = [](double got, double expected) {
    // A few roundings of numbers near 1.
    return std::abs(got - expected) < 2e-15;
  };
  CHECK(close(zero.normal(0), -1.38545974747477));
  CHECK(close(zero.normal(1), 0.3475896377680273));
  CHECK(close(weights.normal(123456), -0.7365382238830257));
  CHECK(close(weights.normal(123457), 0.5689101534033661));
  CHECK(close(last.normal(UINT64_MAX), 0.41577935324606335));
}

TEST_CASE("rng: the bits of normals are the same on every machine and compiler") {
  const Rng rng(42, RngPurpose::init, 7);
  std::uint64_t h = 0xcbf29ce484222325;
  for (std::uint64_t i = 0; i < 100'000; ++i)
    h = (h ^ std::bit_cast<std::uint64_t>(rng.normal(i))) * 0x100000001b3;
  CHECK(h == 0xbbe8b1f5dfe7c4d0);
}

TEST_CASE("rng: normals agree with the formula of the system's library") {
  const Rng rng(3, RngPurpose::test);
  double worst = 0;
  for (std::uint64_t i = 0; i < 200'000; i += 2) {
    const double radius = std::sqrt(-2 * std::log(1 - rng.uniform(i)));
    const double angle = 2 * std::numbers::pi * rng.uniform(i + 1);
    worst = std::max({worst, std::abs(rng.normal(i) - radius * std::cos(angle)),
                      std::abs(rng.normal(i + 1) - radius * std::sin(angle))});
  }
  // The angle as a double is off by up to 2^-51, times a radius of up to 5.
  CHECK(worst < 5 * 0x1p-50);
}

TEST_CASE("rng: the bulk fill has the same bits as one at a time") {
  const Rng rng(5, RngPurpose::init, 11);
  for (std::uint64_t first : {0ull, 1ull, 2ull, 255ull, 256ull, 1ull << 33, (1ull << 33) + 1})
    for (std::size_t n : {0u, 1u, 2u, 3u, 255u, 256u, 257u, 1000u}) {
      INFO("first " << first << ", n " << n);
      std::vector<float> out(n + 1, -77.f);
      rng.fill_normal(std::span(out).first(n), 0.02, first);
      bool same = true;
      for (std::size_t i = 0; i < n; ++i)
        same = same && out[i] == static_cast<float>(0.02 * rng.normal(first + i));
      CHECK(same);
      CHECK(out[n] == -77.f);
    }
}

TEST_CASE("rng: uniform numbers are uniform") {
  constexpr std::size_t kCount = 1 << 20, kBins = 256;
  const std::vector<double> u = uniforms(Rng(1, RngPurpose::test), kCount);
  double sum = 0;
  std::array<double, kBins> bins{};
  bool inside = true;
  for (double x : u) {
    sum += x;
    inside = inside && x >= 0 && x < 1;
    ++bins[static_cast<std::size_t>(x * kBins)];
  }
  CHECK(inside);
  CHECK(std::abs(sum / kCount - 0.5) < kSigmas * std::sqrt(1. / 12 / kCount));
  double chi2 = 0;  // mean kBins - 1, variance 2 (kBins - 1)
  const double expected = static_cast<double>(kCount) / kBins;
  for (double b : bins) chi2 += (b - expected) * (b - expected) / expected;
  CHECK(std::abs(chi2 - (kBins - 1)) < kSigmas * std::sqrt(2. * (kBins - 1)));
}

TEST_CASE("rng: every bit is one half of the time") {
  constexpr std::uint64_t kCount = 1 << 18;
  const Rng rng(2, RngPurpose::batch, 9);
  std::array<double, 64> ones{};
  for (std::uint64_t i = 0; i < kCount; ++i) {
    const std::uint64_t bits = rng.bits(i);
    for (std::size_t b = 0; b < 64; ++b) ones[b] += static_cast<double>(bits >> b & 1);
  }
  for (std::size_t b = 0; b < 64; ++b) {
    INFO("bit " << b);
    CHECK(std::abs(ones[b] / kCount - 0.5) < kSigmas * 0.5 / std::sqrt(double{kCount}));
  }
}

TEST_CASE("rng: indices, streams, purposes and seeds are independent") {
  constexpr std::size_t kCount = 1 << 18;
  const double limit = kSigmas / std::sqrt(static_cast<double>(kCount));
  const std::vector<double> u = uniforms(Rng(1, RngPurpose::init, 5), kCount);
  CHECK(correlation(u, u) == Approx(1).epsilon(0.02));  // the measure measures
  CHECK(std::abs(correlation(u, uniforms(Rng(1, RngPurpose::init, 5), kCount, 1))) < limit);
  CHECK(std::abs(correlation(u, uniforms(Rng(1, RngPurpose::init, 5), kCount, 2))) < limit);
  CHECK(std::abs(correlation(u, uniforms(Rng(1, RngPurpose::init, 6), kCount))) < limit);
  CHECK(std::abs(correlation(u, uniforms(Rng(2, RngPurpose::init, 5), kCount))) < limit);
  for (RngPurpose p : {RngPurpose::batch, RngPurpose::dropout, RngPurpose::sample,
                       RngPurpose::corpus, RngPurpose::test})
    CHECK(std::abs(correlation(u, uniforms(Rng(1, p, 5), kCount))) < limit);
}

TEST_CASE("rng: small keys never share a number") {
  std::set<std::uint64_t> seen;
  std::size_t drawn = 0;
  for (std::uint64_t seed = 0; seed < 8; ++seed)
    for (std::uint32_t purpose = 1; purpose <= 6; ++purpose)
      for (std::uint64_t stream = 0; stream < 8; ++stream)
        for (std::uint64_t index = 0; index < 64; ++index, ++drawn)
          seen.insert(Rng(seed, static_cast<RngPurpose>(purpose), stream).bits(index));
  CHECK(seen.size() == drawn);  // by chance alone a repetition has odds of 1e-11
}

TEST_CASE("rng: normal numbers have the moments and tails of a normal") {
  constexpr std::uint64_t kCount = 1 << 21;
  const Rng rng(7, RngPurpose::init, 1);
  double m1 = 0, m2 = 0, m3 = 0, m4 = 0, pairs = 0, beyond2 = 0, largest = 0;
  for (std::uint64_t i = 0; i < kCount; i += 2) {
    const double x = rng.normal(i), y = rng.normal(i + 1);
    for (double v : {x, y}) {
      m1 += v;
      m2 += v * v;
      m3 += v * v * v;
      m4 += v * v * v * v;
      beyond2 += std::abs(v) > 2;
      largest = std::max(largest, std::abs(v));
    }
    pairs += x * y;
  }
  const double n = kCount, error = kSigmas / std::sqrt(n);
  // Variances of x, x^2, x^3, x^4, x y under the normal: 1, 2, 15, 96, 1.
  CHECK(std::abs(m1 / n) < error);
  CHECK(std::abs(m2 / n - 1) < error * std::sqrt(2.));
  CHECK(std::abs(m3 / n) < error * std::sqrt(15.));
  CHECK(std::abs(m4 / n - 3) < error * std::sqrt(96.));
  CHECK(std::abs(pairs / (n / 2)) < error * std::sqrt(2.));
  const double p = std::erfc(std::sqrt(2.));  // P(|x| > 2)
  CHECK(std::abs(beyond2 / n - p) < error * std::sqrt(p * (1 - p)));
  // P(largest < 4.2) and P(largest > 7) are both below 1e-5 for 2^21 draws.
  CHECK(largest > 4.2);
  CHECK(largest < 7);
}

TEST_CASE("rng: below") {
  const Rng rng(9, RngPurpose::batch);
  CHECK(rng.below(1, 3) == 0);
  CHECK(rng.below(UINT64_MAX, 3) == Approx(static_cast<double>(rng.bits(3))));
  constexpr std::uint64_t kSides = 7, kRolls = 70'000;
  std::array<double, kSides> count{};
  for (std::uint64_t i = 0; i < kRolls; ++i) ++count.at(rng.below(kSides, i));
  double chi2 = 0;
  for (double c : count) chi2 += (c - 10'000) * (c - 10'000) / 10'000;
  CHECK(chi2 < (kSides - 1) + kSigmas * std::sqrt(2. * (kSides - 1)));
}

// Source of the values: Noll, "FNV hash", test vectors of 64-bit FNV-1a.
TEST_CASE("rng: streams by name") {
  CHECK(stream_of("") == 0xcbf29ce484222325);
  CHECK(stream_of("a") == 0xaf63dc4c8601ec8c);
  CHECK(stream_of("foobar") == 0x85944171f73967e8);
}

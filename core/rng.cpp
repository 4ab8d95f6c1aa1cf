#include "core/rng.h"

#include <algorithm>
#include <bit>
#include <cmath>

// Built with -ffp-contract=off (CMakeLists.txt): with nothing but operations that IEEE 754 rounds
// exactly, a seed gives the same bits on every machine and with every compiler, which the
// logarithm and the sine of the system's library do not promise. As loops without calls they also
// run in vector registers.
namespace muonlab {
namespace {

std::uint32_t low(std::uint64_t x) { return static_cast<std::uint32_t>(x); }
std::uint32_t high(std::uint64_t x) { return static_cast<std::uint32_t>(x >> 32); }

std::array<std::uint64_t, 2> pair_of(const std::array<std::uint32_t, 4>& r) {
  return {r[0] | (std::uint64_t{r[1]} << 32), r[2] | (std::uint64_t{r[3]} << 32)};
}

double to_unit(std::uint64_t bits) {
  return static_cast<double>(static_cast<std::int64_t>(bits >> 11)) * 0x1p-53;
}

/// log(x) for normal positive x, relative error below 1e-15.
inline double logarithm(double x) {
  // x = m 2^e with m in [sqrt(1/2), sqrt(2)); log m = 2 atanh(s) with s = (m - 1) / (m + 1), whose
  // series in s ends at s^19 because |s| < 0.172.
  constexpr auto kSqrtHalf = std::bit_cast<std::int64_t>(0.7071067811865476);
  const auto bits = std::bit_cast<std::int64_t>(x);
  const std::int64_t exponent = (bits - kSqrtHalf) >> 52;
  const double m = std::bit_cast<double>(bits - (exponent << 52));
  const double s = (m - 1) / (m + 1), z = s * s;
  double p = 1. / 19;
  for (int n = 17; n >= 1; n -= 2) p = p * z + 1. / n;
  return static_cast<double>(exponent) * 0.6931471805599453 + 2 * s * p;
}

struct Direction {
  double cos, sin;
};

/// (cos, sin) of 2 pi u for u in [0, 1), absolute error below 1e-15.
inline Direction direction(double u) {
  // Exact reduction to the nearest quarter turn; there Taylor's series for |angle| <= pi / 4.
  const double quarter = std::floor(4 * u + 0.5);
  const double angle = (4 * u - quarter) * 1.5707963267948966, z = angle * angle;
  double c = 1, s = 1;
  for (int n = 16; n >= 2; n -= 2) {
    c = 1 - c * z * (1. / (n * (n - 1)));
    s = 1 - s * z * (1. / (n * (n + 1)));
  }
  s *= angle;
  const bool odd = quarter == 1 || quarter == 3;
  const double x = odd ? s : c, y = odd ? c : s;
  return {quarter == 1 || quarter == 2 ? -x : x, quarter == 2 || quarter == 3 ? -y : y};
}

inline std::array<double, 2> box_muller(double u, double v) {
  // 1 - u lies in (0, 1], so that the logarithm is finite.
  const double radius = std::sqrt(-2 * logarithm(1 - u));
  const Direction d = direction(v);
  return {radius * d.cos, radius * d.sin};
}

}  // namespace

std::array<std::uint64_t, 2> Rng::pair(std::uint64_t number) const {
  const std::uint64_t key = seed_ ^ (std::uint64_t{static_cast<std::uint32_t>(purpose_)} << 56);
  return pair_of(
      philox({low(number), high(number), low(stream_), high(stream_)}, {low(key), high(key)}));
}

std::uint64_t Rng::bits(std::uint64_t index) const { return pair(index / 2)[index % 2]; }

double Rng::uniform(std::uint64_t index) const { return to_unit(bits(index)); }

double Rng::normal(std::uint64_t index) const {
  const std::array<std::uint64_t, 2> r = pair(index / 2);
  return box_muller(to_unit(r[0]), to_unit(r[1]))[index % 2];
}

void Rng::fill_normal(std::span<float> out, double std, std::uint64_t first) const {
  constexpr std::size_t kPairs = 128;  // so that the arrays below stay in the first-level cache
  std::array<std::uint64_t, kPairs> u, v;
  std::array<float, 2 * kPairs> values;
  std::uint64_t at = first / 2;
  for (std::size_t done = 0; done < out.size(); at += kPairs) {
    for (std::size_t i = 0; i < kPairs; ++i) {
      const auto r = pair(at + i);
      u[i] = r[0];
      v[i] = r[1];
    }
    for (std::size_t i = 0; i < kPairs; ++i) {
      const auto n = box_muller(to_unit(u[i]), to_unit(v[i]));
      values[2 * i] = static_cast<float>(std * n[0]);
      values[2 * i + 1] = static_cast<float>(std * n[1]);
    }
    const std::size_t skip = done == 0 ? first % 2 : 0;
    const std::size_t count = std::min(2 * kPairs - skip, out.size() - done);
    std::copy_n(values.begin() + static_cast<std::ptrdiff_t>(skip), count,
                out.begin() + static_cast<std::ptrdiff_t>(done));
    done += count;
  }
}

std::uint64_t Rng::below(std::uint64_t n, std::uint64_t index) const {
  __extension__ using Wide = unsigned __int128;
  return static_cast<std::uint64_t>((static_cast<Wide>(bits(index)) * n) >> 64);
}

std::uint64_t stream_of(const char* name) {
  std::uint64_t h = 0xcbf29ce484222325;
  for (; *name; ++name) h = (h ^ static_cast<unsigned char>(*name)) * 0x100000001b3;
  return h;
}

}  // namespace muonlab

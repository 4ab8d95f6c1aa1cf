#include "core/rng.h"

#include <cmath>
#include <numbers>

namespace muonlab {

std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> c, std::array<std::uint32_t, 2> k) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53} * c[0];
    const std::uint64_t p1 = std::uint64_t{0xCD9E8D57} * c[2];
    c = {static_cast<std::uint32_t>(p1 >> 32) ^ c[1] ^ k[0], static_cast<std::uint32_t>(p1),
         static_cast<std::uint32_t>(p0 >> 32) ^ c[3] ^ k[1], static_cast<std::uint32_t>(p0)};
    k[0] += 0x9E3779B9;
    k[1] += 0xBB67AE85;
  }
  return c;
}

std::uint64_t Rng::bits(std::uint64_t index) const {
  // Two 64-bit numbers a block; counter = (block, stream), key = seed with the purpose in its
  // top byte.
  const std::uint64_t block = index / 2;
  const std::uint64_t key = seed_ ^ (std::uint64_t{static_cast<std::uint32_t>(purpose_)} << 56);
  const auto r = philox({static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32),
                         static_cast<std::uint32_t>(stream_), static_cast<std::uint32_t>(stream_ >> 32)},
                        {static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32)});
  return index % 2 == 0 ? r[0] | (std::uint64_t{r[1]} << 32) : r[2] | (std::uint64_t{r[3]} << 32);
}

double Rng::uniform(std::uint64_t index) const {
  return static_cast<double>(bits(index) >> 11) * 0x1p-53;
}

double Rng::normal(std::uint64_t index) const {
  // One pair of uniforms gives two normals; 1 - u lies in (0, 1], so that the logarithm is finite.
  const std::uint64_t pair = index / 2 * 2;
  const double radius = std::sqrt(-2 * std::log(1 - uniform(pair)));
  const double angle = 2 * std::numbers::pi * uniform(pair + 1);
  return radius * (index % 2 == 0 ? std::cos(angle) : std::sin(angle));
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

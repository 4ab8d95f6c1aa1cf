#include "tests/support/array.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "core/rng.h"

namespace muonlab::test {

Tensor Array::tensor(DType dtype, Device device) const {
  if (dtype == DType::f64) return Tensor::from<double>(shape, values, device);
  if (dtype == DType::i32) {
    const std::vector<std::int32_t> v(values.begin(), values.end());
    return Tensor::from<std::int32_t>(shape, v, device);
  }
  if (dtype == DType::bf16) {
    Tensor host = Tensor::empty(shape, dtype);
    auto* bits = static_cast<std::uint16_t*>(host.raw());
    for (const double x : rounded_to_bf16(*this).values)
      *bits++ =
          static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(static_cast<float>(x)) >> 16);
    return host.to(device);
  }
  const std::vector<float> v(values.begin(), values.end());
  return Tensor::from<float>(shape, v, device);
}

double rms(const Array& a) {
  double sum = 0;
  for (double x : a.values) sum += x * x;
  return a.values.empty() ? 0 : std::sqrt(sum / static_cast<double>(a.values.size()));
}

Array normal_array(Shape shape, const std::string& name, double mean, double deviation) {
  const Rng rng(1, RngPurpose::test, stream_of(name.c_str()));
  Array a(shape);
  for (std::int64_t i = 0; i < a.numel(); ++i)
    a[i] = static_cast<float>(mean + deviation * rng.normal(static_cast<std::uint64_t>(i)));
  return a;
}

Array rounded_to_bf16(Array a) {
  for (double& x : a.values) {
    int exponent = 0;
    const double mantissa = std::frexp(x, &exponent);  // in [1/2, 1)
    x = std::ldexp(std::nearbyint(std::ldexp(mantissa, 8)), exponent - 8);
  }
  return a;
}

Tensor random_ids(Shape shape, std::int64_t vocab, const std::string& name) {
  const Rng rng(1, RngPurpose::test, stream_of(name.c_str()));
  Tensor ids = Tensor::empty(shape, DType::i32);
  std::uint64_t i = 0;
  for (std::int32_t& id : ids.host<std::int32_t>())
    id = static_cast<std::int32_t>(rng.below(static_cast<std::uint64_t>(vocab), i++));
  return ids;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  if (a.shape() != b.shape() || a.dtype() != b.dtype()) return false;
  const Tensor x = a.to(Device{});
  const Tensor y = b.to(Device{});
  return std::memcmp(x.raw(), y.raw(), x.bytes()) == 0;
}

}  // namespace muonlab::test

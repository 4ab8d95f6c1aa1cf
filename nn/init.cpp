#include "nn/init.h"

#include <algorithm>
#include <span>
#include <utility>
#include <vector>

#include "core/backend.h"
#include "core/rng.h"

namespace muonlab {

Parameter Init::normal(ParamInfo info, double std) const {
  const Rng rng(seed, RngPurpose::init, stream_of(info.name.c_str()));
  const std::int64_t n = info.shape.numel();
  std::vector<float> values(static_cast<std::size_t>(n));
  constexpr std::int64_t kGrain = std::int64_t{1} << 16;
  backend_of(Device{}).for_each((n + kGrain - 1) / kGrain, [&](std::int64_t chunk) {
    const std::int64_t begin = chunk * kGrain;
    const std::span<float> part(values.data() + begin,
                                static_cast<std::size_t>(std::min(kGrain, n - begin)));
    rng.fill_normal(part, std, static_cast<std::uint64_t>(begin));
  });
  Parameter p = make_parameter(std::move(info), dtype, device);
  if (dtype == DType::f32) {
    p.value().copy_from(Tensor::from<float>(p.value().shape(), values));
  } else {
    const std::vector<double> wide(values.begin(), values.end());
    p.value().copy_from(Tensor::from<double>(p.value().shape(), wide));
  }
  return p;
}

Parameter Init::constant(ParamInfo info, double value) const {
  Parameter p = make_parameter(std::move(info), dtype, device);
  p.value().fill(value);
  return p;
}

}  // namespace muonlab

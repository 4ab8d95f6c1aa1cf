#pragma once

#include <cmath>
#include <cstdint>
#include <map>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "optim/optimizer.h"

// What the optimizer tests share: parameters with gradients set by hand, and configurations by
// name.
namespace muonlab::testing {

using Values = std::vector<double>;

inline Tensor tensor_of(Shape shape, const Values& values, DType dtype = DType::f64) {
  if (dtype == DType::f64) return Tensor::from<double>(shape, std::span<const double>(values));
  const std::vector<float> narrow(values.begin(), values.end());
  return Tensor::from<float>(shape, std::span<const float>(narrow));
}

inline Parameter parameter(ParamInfo info, const Values& values, DType dtype = DType::f64) {
  Parameter p = make_parameter(std::move(info), dtype);
  p.value().copy_from(tensor_of(p.info.shape, values, dtype));
  return p;
}

/// What backward would do.
inline void set_grad(Parameter& p, const Values& values) {
  p.var.slot()->grad = tensor_of(p.info.shape, values, p.value().dtype());
  p.var.slot()->filled = true;
}

/// Standard normal numbers.
inline Values gaussian(std::int64_t n, std::uint64_t seed) {
  std::mt19937_64 engine(seed);
  std::normal_distribution<double> normal;
  Values v(static_cast<std::size_t>(n));
  for (double& x : v) x = normal(engine);
  return v;
}

/// Rule options by name on top of what makes a rule bare: no warm-up, no clipping, constant rate,
/// no decay.
inline OptimizerConfig configured(const std::map<std::string, std::string>& settings) {
  OptimizerConfig config;
  config.schedule = {.kind = ScheduleKind::constant, .warmup = 0, .horizon = 1000};
  config.grad_clip = 0;
  config.weight_decay = 0;
  OptionTable table = options(config);
  for (const bool presets : {true, false})  // first presets, which other options then change
    for (const auto& [name, value] : settings) {
      if ((name.find(".preset") != std::string::npos) != presets) continue;
      bool known = false;
      for (Option& o : table)
        if (o.name == name) {
          o.set(value);
          known = true;
        }
      if (!known) throw ConfigError("the test sets an unknown option: " + name);
    }
  return config;
}

/// One parameter of every kind, small, except one that spans several slices of an elementwise rule
/// and one whose gradients are so faint that the smallest norms matter.
inline std::vector<Parameter> zoo(DType dtype = DType::f64) {
  std::vector<Parameter> params;
  const auto add = [&](std::string name, ParamKind kind, Shape shape,
                       std::vector<Block> blocks = {}) {
    params.push_back(parameter({std::move(name), kind, shape, std::move(blocks), ""},
                               gaussian(shape.numel(), 100 + params.size()), dtype));
  };
  add("wte", ParamKind::embedding, {7, 4});
  add("qkv", ParamKind::matrix, {8, 4}, {{0, 4, "q"}, {4, 6, "k"}, {6, 8, "v"}});
  add("qkv.bias", ParamKind::bias, {8});
  add("large", ParamKind::embedding, {85, 200});
  add("tall", ParamKind::matrix, {9, 4});
  add("faint", ParamKind::matrix, {3, 3});
  add("experts", ParamKind::expert, {2, 4, 6});
  add("router", ParamKind::router, {2, 4});
  add("norm", ParamKind::gain, {4});
  add("head", ParamKind::head, {7, 4});
  return params;
}

/// Gradients of update t, independent of the weights.
inline void set_zoo_grads(std::vector<Parameter>& params, std::int64_t t) {
  for (std::size_t i = 0; i < params.size(); ++i) {
    Values g = gaussian(params[i].info.shape.numel(), 1000 * static_cast<std::uint64_t>(t) + i);
    if (params[i].info.name == "faint")
      for (double& x : g) x *= 1e-7;
    set_grad(params[i], g);
  }
}

/// All weights, one after another.
inline Values weights(const std::vector<Parameter>& params) {
  Values all;
  for (const Parameter& p : params) {
    const Values v = p.value().to_vector();
    all.insert(all.end(), v.begin(), v.end());
  }
  return all;
}

inline double largest_difference(const Values& a, const Values& b) {
  if (a.size() != b.size()) throw Error("the test compares vectors of different length");
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double d = std::abs(a[i] - b[i]);
    if (!(d <= worst)) worst = d;  // NaN counts
  }
  return worst;
}

/// Equal to the bit. (Comparing inside CHECK would print thousands of numbers.)
inline bool same_bits(const Values& a, const Values& b) { return a == b; }

/// The golden problem: W0 (2, 3) and gradients G_t[k] = 0.1 sin((k + 1)^2 + 2 t).
inline Values golden_start() { return {.5, -.3, .8, -.1, .4, -.6}; }
inline Values golden_gradient(int t) {
  Values g;
  for (int k = 0; k < 6; ++k) g.push_back(0.1 * std::sin((k + 1) * (k + 1) + 2 * t));
  return g;
}
/// (2, 3) to (3, 2)
inline Values transposed(const Values& x) { return {x[0], x[3], x[1], x[4], x[2], x[5]}; }

/// The weights of the golden problem after three updates.
inline Values golden_run(const std::map<std::string, std::string>& settings, DType dtype,
                         bool transpose = false) {
  const auto turn = [&](const Values& x) { return transpose ? transposed(x) : x; };
  const Shape shape = transpose ? Shape{3, 2} : Shape{2, 3};
  std::vector<Parameter> params{
      parameter({"w", ParamKind::matrix, shape, {}, ""}, turn(golden_start()), dtype)};
  Optimizer optimizer(params, configured(settings));
  for (int t = 1; t <= 3; ++t) {
    set_grad(params[0], turn(golden_gradient(t)));
    optimizer.step();
  }
  return weights(params);
}

// The golden vectors are rounded to 8 decimals; f32 keeps about 7 digits of weights below 1 through
// three updates.
inline double golden_tolerance(DType dtype) { return dtype == DType::f64 ? 1e-8 : 5e-7; }

}  // namespace muonlab::testing

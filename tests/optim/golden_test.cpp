// Trajectories of 50 updates by the libraries' own optimizers:
// tests/golden/make_optimizer_golden.py made the files that are read here. A new file is tested
// without a line here.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <set>
#include <string>

#include "core/checkpoint.h"
#include "tests/optim/optim_cases.h"
#include "tests/support/catch.h"

using namespace muonlab;
using namespace muonlab::testing;

namespace {

// `number` of the script.
double number(std::uint32_t stream, std::uint32_t index) {
  std::uint32_t x = (stream << 16U) + index;
  x = (x ^ (x >> 16U)) * 0x85EBCA6BU;
  x = (x ^ (x >> 13U)) * 0xC2B2AE35U;
  x ^= x >> 16U;
  return (static_cast<double>(x >> 12U) - 0x1p19 + 0.5) / 0x1p19;
}

enum : std::uint32_t { kStart, kTarget, kCurvature, kSampled = 500 };
Values numbers(std::size_t place, std::uint32_t kind, std::int64_t n) {
  Values v(static_cast<std::size_t>(n));
  const auto stream = static_cast<std::uint32_t>(1000 * place) + kind;
  for (std::size_t i = 0; i < v.size(); ++i) v[i] = number(stream, static_cast<std::uint32_t>(i));
  return v;
}

std::vector<Parameter> problem(DType dtype) {
  std::vector<Parameter> params;
  const auto add = [&](const char* name, ParamKind kind, Shape shape) {
    params.push_back(parameter({name, kind, shape, {}, ""},
                               numbers(params.size(), kStart, shape.numel()), dtype));
  };
  add("wide", ParamKind::matrix, {4, 6});
  add("tall", ParamKind::matrix, {6, 3});
  add("vector", ParamKind::bias, {5});
  add("stack", ParamKind::expert, {2, 3, 4});
  return params;
}

void set_gradients(std::vector<Parameter>& params, std::uint32_t t) {
  for (std::size_t place = 0; place < params.size(); ++place) {
    Values g = params[place].value().to_vector();
    const auto n = static_cast<std::int64_t>(g.size());
    const Values target = numbers(place, kTarget, n), curvature = numbers(place, kCurvature, n),
                 noise = numbers(place, kCurvature + t, n);
    for (std::size_t i = 0; i < g.size(); ++i)
      g[i] = (1 + curvature[i] / 2) * (g[i] - target[i]) + 0.5 * noise[i];
    set_grad(params[place], g);
  }
}

void set_sampled_gradients(std::vector<Parameter>& params, std::uint32_t t) {
  for (std::size_t place = 0; place < params.size(); ++place)
    set_grad(params[place], numbers(place, kSampled + t, params[place].info.shape.numel()));
}

struct Golden {
  TensorFile file;
  std::map<std::string, std::string> settings;
  bool exact = false;       // the reference computed in f64
  std::set<int> updates{};  // after which weights are stored

  explicit Golden(const std::filesystem::path& path) : file(path) {
    const std::string option = "option/";
    for (const auto& [key, value] : file.metadata())
      if (key.compare(0, option.size(), option) == 0) settings[key.substr(option.size())] = value;
    exact = file.metadata().at("dtype") == "f64";
    for (const TensorFile::Entry& e : file.entries()) updates.insert(std::stoi(e.name));
  }
  bool has(const std::string& name) const { return file.contains(name); }
  Values read(const std::string& name) const {
    for (const TensorFile::Entry& e : file.entries())
      if (e.name == name) {
        Tensor t = Tensor::empty(e.shape, e.dtype);
        file.read(e.name, t);
        return t.to_vector();
      }
    throw Error("the file has no '" + name + "'");
  }
};

double largest(const Values& v) {
  double most = 0;
  for (const double x : v) most = std::max(most, std::abs(x));
  return most;
}

void follow(const Golden& golden, DType dtype) {
  // Distances relative to the largest weight of a parameter. An update rounds a weight by half a
  // unit, 2^-24 in f32, and 50 of them that all round the same way by 3e-6; the moments' own
  // rounding comes through the update, which is some hundredths of the weight. 1e-5 leaves a factor
  // of three. f64 rounds 2^-29 of that: 1e-12 leaves room for rules that divide by little.
  const double tolerance = dtype == DType::f64 && golden.exact ? 1e-12 : 1e-5;
  std::vector<Parameter> params = problem(dtype);
  Optimizer optimizer(params, configured(golden.settings));
  const auto check = [&](const std::string& prefix) {
    for (const Parameter& p : params) {
      const Values want = golden.read(prefix + p.info.name);
      INFO(name_of(dtype) << ", " << prefix << p.info.name);
      CHECK(largest_difference(p.value().to_vector(), want) / largest(want) <= tolerance);
    }
  };
  for (int t = 1; t <= *golden.updates.rbegin(); ++t) {
    if (optimizer.wants_sampled()) {
      set_sampled_gradients(params, static_cast<std::uint32_t>(t));
      optimizer.take_sampled(1);
    }
    set_gradients(params, static_cast<std::uint32_t>(t));
    optimizer.step();
    if (!golden.updates.contains(t)) continue;
    const std::string update = std::to_string(t) + '/';
    check(update);
    if (golden.has(update + "eval/wide")) {
      const EvalWeights evaluated(optimizer);
      check(update + "eval/");
    }
  }
}

std::vector<std::filesystem::path> files() {
  std::vector<std::filesystem::path> all;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(MUONLAB_SOURCE_DIR) +
                                                               "/tests/golden/optimizers"))
    all.push_back(entry.path());
  std::sort(all.begin(), all.end());
  return all;
}

}  // namespace

TEST_CASE("every rule takes the steps of its references, 50 of them", "[golden]") {
  for (const std::filesystem::path& path : files()) {
    const Golden golden(path);
    INFO(path.stem().string() << " by " << golden.file.metadata().at("made_with"));
    follow(golden, DType::f64);
    follow(golden, DType::f32);
  }
}

TEST_CASE("every rule has a reference", "[golden]") {
  std::set<std::string> have;
  for (const std::filesystem::path& path : files())
    have.insert(Golden(path).settings.at("optimizer"));
  for (const std::string& rule : rule_names()) {
    if (rule == "dion") continue;  // starts from random numbers; its test has a golden vector
    INFO(rule);
    CHECK(have.contains(rule));
  }
}

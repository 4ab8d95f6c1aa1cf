#include "optim/optimizer.h"

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "tests/cuda/gpu.h"
#include "tests/optim/optim_cases.h"

using namespace muonlab;
using namespace muonlab::testing;
using muonlab::test::kGpu;

namespace {

std::vector<Parameter> zoo_on(Device device) {
  std::vector<Parameter> params;
  for (const Parameter& p : zoo(DType::f32)) {
    params.push_back(make_parameter(p.info, DType::f32, device));
    params.back().value().copy_from(p.value());
  }
  return params;
}

/// The zoo's parameters after some updates.
std::vector<Values> trained(const std::string& rule, Device device) {
  std::vector<Parameter> params = zoo_on(device);
  const auto config = [&] {
    std::map<std::string, std::string> options{
        {"optimizer", rule}, {"lr", "0.01"}, {"weight_decay", "0.1"}};
    // The first gradient of a longer side has a null space there, in which rounding picks the
    // basis.
    if (rule == "soap") options.emplace("soap.max_dim", "3");
    return configured(options);
  };
  initialise(params, config());
  Optimizer optimizer(params, config());
  const auto gradients = [&](int t) {
    set_zoo_grads(params, t);
    for (Parameter& p : params) p.var.slot()->grad = p.grad().to(device);
  };
  for (int t = 1; t <= 4; ++t) {
    if (optimizer.wants_sampled()) {
      gradients(100 + t);
      optimizer.take_sampled(7);
    }
    gradients(t);
    optimizer.step();
  }
  std::vector<Values> all;
  for (const Parameter& p : params) all.push_back(p.value().to_vector());
  return all;
}

double length(const Values& v) {
  double squares = 0;
  for (const double x : v) squares += x * x;
  return std::sqrt(squares);
}

}  // namespace

TEST_CASE("every rule does on the GPU what it does on the CPU", "[cuda][optimizer]") {
  MUONLAB_NEEDS_GPU();
  const std::vector<Parameter> start = zoo_on(Device{});
  for (const std::string& rule : rule_names()) {
    const std::vector<Values> cpu = trained(rule, Device{}), gpu = trained(rule, kGpu);
    for (std::size_t i = 0; i < start.size(); ++i) {
      INFO(rule << ": " << start[i].info.name);
      Values moved = start[i].value().to_vector(), apart = cpu[i];
      for (std::size_t k = 0; k < moved.size(); ++k) {
        moved[k] -= cpu[i][k];
        apart[k] -= gpu[i][k];
      }
      // Rounding moves a weight by 1e-7 of itself in each of four updates; the steps of an
      // orthogonalisation and of preconditioners lose up to three digits of an update of some
      // hundredths of it.
      CHECK(length(apart) < 1e-6 * length(cpu[i]) + 1e-4 * length(moved));
      CHECK(length(moved) > 0);
    }
  }
}

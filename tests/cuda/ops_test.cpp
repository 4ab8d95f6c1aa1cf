#include <algorithm>
#include <array>
#include <string_view>

#include "tests/cuda/gpu.h"
#include "tests/support/array.h"
#include "tests/support/catch.h"
#include "tests/support/close.h"
#include "tests/support/op_case.h"

using namespace muonlab;
using namespace muonlab::test;

// Every primitive of the list, in every variant, on the GPU. Two test cases for each, so that one
// can be run alone.

namespace {

template <class F>
void for_cases(std::string_view primitive, const F& f) {
  for (const OpCase& op : op_cases()) {
    if (op.op != primitive) continue;
    INFO(op.name());
    f(op);
  }
}

void check_errors(std::string_view primitive) {
  MUONLAB_NEEDS_GPU();
  // The same formulas with sums in another order: errors of the same distribution, of which these
  // are the largest among many, so that they differ by little. What goes into a term may round
  // differently by some eps.
  const double eps = epsilon(DType::f32);
  const auto most = [&](double cpu) { return 2 * cpu + 2 * eps; };
  for_cases(primitive, [&](const OpCase& op) {
    const OpError gpu = op_error(op, kGpu, DType::f32), cpu = op_error(op, Device{}, DType::f32);
    CHECK(gpu.output <= most(cpu.output));
    CHECK(gpu.gradients <= most(cpu.gradients));
    CHECK(gpu.parameters <= most(cpu.parameters));
  });
}

void check_rules(std::string_view primitive) {
  MUONLAB_NEEDS_GPU();
  for_cases(primitive, [](const OpCase& op) { check_contract(op, kGpu, DType::f32); });
}

constexpr std::array<std::string_view, 11> kPrimitives{
    "linear", "layer_norm", "rms_norm", "embedding", "causal_attention", "softmax_cross_entropy",
    "add",    "mul",        "scale",    "dropout",   "activation"};

}  // namespace

#define ON_GPU(NUMBER, NAME)                                                           \
  static_assert(kPrimitives[NUMBER] == NAME);                                          \
  TEST_CASE(NAME " on the GPU is about as near to f64 as on the CPU", "[cuda][ops]") { \
    check_errors(NAME);                                                                \
  }                                                                                    \
  TEST_CASE(NAME " on the GPU keeps the rules of gradient slots", "[cuda][ops]") {     \
    check_rules(NAME);                                                                 \
  }                                                                                    \
  static_assert(true)
ON_GPU(0, "linear");
ON_GPU(1, "layer_norm");
ON_GPU(2, "rms_norm");
ON_GPU(3, "embedding");
ON_GPU(4, "causal_attention");
ON_GPU(5, "softmax_cross_entropy");
ON_GPU(6, "add");
ON_GPU(7, "mul");
ON_GPU(8, "scale");
ON_GPU(9, "dropout");
ON_GPU(10, "activation");

TEST_CASE("every primitive has its test cases here", "[cuda][ops]") {
  for (const OpCase& op : op_cases()) {
    INFO(op.name());
    CHECK(std::find(kPrimitives.begin(), kPrimitives.end(), op.op) != kPrimitives.end());
  }
}

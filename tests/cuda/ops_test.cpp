#include <algorithm>

#include "tests/cuda/gpu.h"
#include "tests/support/array.h"
#include "tests/support/catch.h"
#include "tests/support/close.h"
#include "tests/support/op_case.h"

using namespace muonlab;
using namespace muonlab::test;

// Every primitive of the list, in every variant, on the GPU.

TEST_CASE("primitives on the GPU are about as near to f64 as those on the CPU", "[cuda][ops]") {
  MUONLAB_NEEDS_GPU();
  // The same formulas with sums in another order: errors of the same distribution, of which these
  // are the largest among many, so that they differ by little. What goes into a term may round
  // differently by some eps.
  const double eps = epsilon(DType::f32);
  const auto most = [&](double cpu) { return 2 * cpu + 2 * eps; };
  for (const OpCase& op : op_cases()) {
    INFO(op.name());
    const OpError gpu = op_error(op, kGpu, DType::f32), cpu = op_error(op, Device{}, DType::f32);
    CHECK(gpu.output <= most(cpu.output));
    CHECK(gpu.gradients <= most(cpu.gradients));
    CHECK(gpu.parameters <= most(cpu.parameters));
  }
}

TEST_CASE("primitives on the GPU keep the rules of gradient slots", "[cuda][ops]") {
  MUONLAB_NEEDS_GPU();
  for (const OpCase& op : op_cases()) {
    INFO(op.name());
    check_contract(op, kGpu, DType::f32);
  }
}

#include "tests/support/catch.h"
#include "tests/support/op_case.h"

using namespace muonlab;
using namespace muonlab::test;

// Every primitive of the list, in every variant, through every property that all of them share.

TEST_CASE("primitives agree with their definitions in f64", "[ops]") {
  for (const OpCase& op : op_cases()) {
    INFO(op.name());
    check_oracle(op, Device{}, DType::f64);
  }
}

TEST_CASE("primitives agree with their definitions in f32", "[ops]") {
  for (const OpCase& op : op_cases()) {
    INFO(op.name());
    check_oracle(op, Device{}, DType::f32);
  }
}

TEST_CASE("gradients of primitives agree with finite differences", "[ops][gradients]") {
  for (const OpCase& op : op_cases()) {
    INFO(op.name());
    check_differences(op);
  }
}

TEST_CASE("primitives keep the rules of gradient slots and name themselves in errors", "[ops]") {
  for (const OpCase& op : op_cases()) {
    INFO(op.name());
    check_contract(op, Device{}, DType::f32);
  }
}

TEST_CASE("primitives have the same bits for 1, 2, 3 and 8 threads", "[ops][threads]") {
  for (DType dtype : {DType::f32, DType::f64}) {
    for (const OpCase& op : op_cases()) {
      INFO(op.name() << " " << name_of(dtype));
      check_threads(op, dtype);
    }
  }
}

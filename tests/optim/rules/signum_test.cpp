#include "tests/optim/optim_cases.h"
#include "tests/support/catch.h"

using namespace muonlab;
using namespace muonlab::testing;

TEST_CASE("signum takes the golden steps") {
  const DType dtype = GENERATE(DType::f64, DType::f32);
  CHECK(largest_difference(golden_run({{"optimizer", "signum"}, {"lr", "0.01"}}, dtype),
                           {.51, -.31, .81, -.11, .39, -.61}) < golden_tolerance(dtype));
}

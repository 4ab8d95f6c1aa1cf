#include "tests/optim/optim_cases.h"
#include "tests/support/catch.h"

using namespace muonlab;
using namespace muonlab::testing;

// Golden vector: torch.optim.Adagrad, f64.
TEST_CASE("adagrad takes the golden steps") {
  const DType dtype = GENERATE(DType::f64, DType::f32);
  CHECK(largest_difference(
            golden_run({{"optimizer", "adagrad"}, {"lr", "0.1"}, {"adagrad.lr_decay", "0.01"}},
                       dtype),
            {.44294701, -.24942761, .81123561, -.07572961, .38859228, -.71821493}) <
        golden_tolerance(dtype));
}

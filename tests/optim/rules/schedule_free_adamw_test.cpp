#include "tests/optim/optim_cases.h"
#include "tests/support/catch.h"

using namespace muonlab;
using namespace muonlab::testing;

namespace {

// The three sequences as in the paper's algorithm, with the decay at y, as in schedulefree's
// AdamWScheduleFreeReference.
struct ThreeSequences {
  double beta1, beta2, eps, decay;
  Values x, y, z, v;
  double sum = 0, largest = 0;

  void step(const Values& g, double lr, int t) {
    largest = std::max(largest, lr);
    sum += largest * largest;
    const double c = largest * largest / sum;
    for (std::size_t i = 0; i < g.size(); ++i) {
      v[i] = beta2 * v[i] + (1 - beta2) * g[i] * g[i];
      z[i] -= lr * decay * y[i];
      z[i] -= lr * g[i] / (std::sqrt(v[i] / (1 - std::pow(beta2, t))) + eps);
      x[i] = (1 - c) * x[i] + c * z[i];
      y[i] = beta1 * x[i] + (1 - beta1) * z[i];
    }
  }
};

const std::map<std::string, std::string> kGolden{
    {"optimizer", "schedule_free_adamw"}, {"lr", "0.01"}, {"weight_decay", "0.1"}};

}  // namespace

// Golden vectors: facebookresearch/schedule_free, f64, whose warm-up over two updates is the
// driver's over one.
TEST_CASE("schedule_free_adamw takes the golden steps, and has other weights to evaluate") {
  const DType dtype = GENERATE(DType::f64, DType::f32);
  std::vector<Parameter> params{
      parameter({"w", ParamKind::matrix, {2, 3}, {}, ""}, golden_start(), dtype)};
  OptimizerConfig config = configured(kGolden);
  config.schedule.warmup = 1;
  Optimizer optimizer(params, std::move(config));
  for (int t = 1; t <= 3; ++t) {
    set_grad(params[0], golden_gradient(t));
    optimizer.step();
  }
  const Values y{.50178273, -.30262767, .79409104, -.10457686, .40434132, -.60915678};
  CHECK(largest_difference(weights(params), y) < golden_tolerance(dtype));
  {
    const EvalWeights evaluated(optimizer);
    // x comes from y and z, with a difference of theirs a ninth of which rounding moves.
    CHECK(largest_difference(weights(params), {.50220073, -.30294677, .79470015, -.10446954,
                                               .40396280, -.60977569}) < golden_tolerance(dtype));
  }
  CHECK(largest_difference(weights(params), y) < golden_tolerance(dtype));
}

TEST_CASE("schedule_free_adamw keeps two sequences of the paper's three, under any schedule") {
  const Values start = gaussian(40, 1);
  ThreeSequences paper{0.9, 0.999, 1e-8, 0.1, start, start, start, Values(40, 0)};
  std::vector<Parameter> params{parameter({"w", ParamKind::matrix, {5, 8}, {}, ""}, start)};
  OptimizerConfig config = configured(kGolden);
  config.schedule = {.kind = ScheduleKind::cosine, .warmup = 3, .horizon = 12};
  const Schedule schedule = config.schedule;
  Optimizer optimizer(params, std::move(config));
  for (int t = 1; t <= 12; ++t) {
    const Values g = gaussian(40, 100 + static_cast<std::uint64_t>(t));
    set_grad(params[0], g);
    optimizer.step();
    paper.step(g, 0.01 * schedule.factor(t - 1), t);
    // y - y' goes through a division by a rate of 1e-3 and back: 12 steps of 1e-15.
    CHECK(largest_difference(weights(params), paper.y) < 1e-13);
    const EvalWeights evaluated(optimizer);
    CHECK(largest_difference(weights(params), paper.x) < 1e-13);
  }
}

TEST_CASE("a rate of zero moves no weight of schedule_free_adamw") {
  std::vector<Parameter> params{
      parameter({"w", ParamKind::matrix, {2, 3}, {}, ""}, golden_start())};
  auto settings = kGolden;
  settings.at("lr") = std::string("0");
  Optimizer optimizer(params, configured(settings));
  set_grad(params[0], golden_gradient(1));
  optimizer.step();
  CHECK(weights(params) == golden_start());
  const EvalWeights evaluated(optimizer);
  CHECK(largest_difference(weights(params), golden_start()) < 1e-15);
}

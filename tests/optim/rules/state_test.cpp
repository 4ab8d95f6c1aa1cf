#include "tests/optim/optim_cases.h"
#include "tests/support/catch.h"

using namespace muonlab;
using namespace muonlab::testing;

TEST_CASE("options decide how many numbers a rule keeps per weight") {
  struct Case {
    std::map<std::string, std::string> settings;
    std::int64_t words;
  };
  const Case cases[] = {
      {{{"optimizer", "sgd"}, {"sgd.momentum", "0"}}, 0},
      {{{"optimizer", "rmsprop"}, {"rmsprop.centered", "true"}}, 2},
      {{{"optimizer", "rmsprop"}, {"rmsprop.momentum", "0.9"}}, 2},
      {{{"optimizer", "rmsprop"}, {"rmsprop.centered", "true"}, {"rmsprop.momentum", "0.9"}}, 3},
      {{{"optimizer", "adamw"}, {"adamw.amsgrad", "true"}}, 3},
  };
  for (const Case& c : cases) {
    INFO(c.settings.at("optimizer") << ", " << c.settings.size() - 1 << " options");
    std::vector<Parameter> params{
        parameter({"w", ParamKind::matrix, {2, 3}, {}, ""}, golden_start())};
    const Optimizer optimizer(params, configured(c.settings));
    std::int64_t words = 0;
    for (const NamedTensor& s : optimizer.state())
      if (s.name.rfind("opt/w/", 0) == 0) words += s.tensor.numel();
    CHECK(words == 6 * c.words);
  }
}

#include "tests/optim/optim_cases.h"
#include "tests/support/catch.h"

using namespace muonlab;
using namespace muonlab::testing;

TEST_CASE("elementwise rules keep so many numbers per weight, and no more") {
  struct Case {
    std::map<std::string, std::string> settings;
    std::int64_t words;
  };
  const Case cases[] = {
      {{{"optimizer", "sgd"}, {"sgd.momentum", "0"}}, 0},
      {{{"optimizer", "sgd"}}, 1},
      {{{"optimizer", "lion"}}, 1},
      {{{"optimizer", "signum"}}, 1},
      {{{"optimizer", "adagrad"}}, 1},
      {{{"optimizer", "rmsprop"}}, 1},
      {{{"optimizer", "rmsprop"}, {"rmsprop.centered", "true"}}, 2},
      {{{"optimizer", "rmsprop"}, {"rmsprop.momentum", "0.9"}}, 2},
      {{{"optimizer", "rmsprop"}, {"rmsprop.centered", "true"}, {"rmsprop.momentum", "0.9"}}, 3},
      {{{"optimizer", "adam"}}, 2},
      {{{"optimizer", "adamw"}}, 2},
      {{{"optimizer", "adamw"}, {"adamw.amsgrad", "true"}}, 3},
      {{{"optimizer", "adabelief"}}, 2},
      {{{"optimizer", "adopt"}}, 2},
      {{{"optimizer", "sophia_g"}}, 2},
      {{{"optimizer", "schedule_free_adamw"}}, 2},
      {{{"optimizer", "ademamix"}}, 3},
      {{{"optimizer", "mars"}}, 3},
      {{{"optimizer", "prodigy"}}, 4},
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

#include "tests/apps/program.h"

using namespace muonlab::test;

TEST_CASE("docs/options.md is what the program says of its options") {
  INFO("to bring it up to date: muonlab options > docs/options.md");
  CHECK(run_well({"options"}) == slurp(MUONLAB_SOURCE_DIR "/docs/options.md"));
}

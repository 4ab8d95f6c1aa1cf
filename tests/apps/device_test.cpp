#include "tests/apps/program.h"

using namespace muonlab::test;

// Where there is no GPU to be used: in a build without CUDA, and on a machine without a GPU.

namespace {

/// --device cuda is refused with these words and makes no run; --device auto takes the processor.
void check_without_gpu(const std::string& program, const Arguments& words) {
  const Setup setup{.program = program};
  const TempFolder folder;
  for (const Arguments& command :
       {train(folder / "run", 2, {"--device", "cuda"}),
        Arguments{"bench", "--preset", "tiny", "--steps", "1", "--device", "cuda"}}) {
    const Outcome outcome = run(command, setup);
    check_error(outcome, 1, words + Arguments{"or use --device cpu\n"});
    CHECK(count_of(outcome.err, "\n") == 1);
    CHECK(outcome.out.empty());
  }
  CHECK(!fs::exists(folder / "run"));
  const std::string text = run_well(train(folder / "run", 2, {"--device", "auto"}), setup);
  CHECK(text.rfind("muonlab 0.1.0: cpu, 1 thread, ", 0) == 0);
  // A run that was made here can be used here.
  check_error(run({"sample", folder / "run", "--device", "cuda"}, setup), 1, words);
  check_error(run({"eval", folder / "run", "--device", "cuda"}, setup), 1, words);
  run_well({"sample", folder / "run"}, setup);
}

}  // namespace

TEST_CASE("a build without CUDA says so when asked for a GPU") {
  check_without_gpu(
      MUONLAB_BINARY_WITHOUT_CUDA,
      {"this build of muonlab has no CUDA backend: configure it with -DMUONLAB_CUDA=ON"});
}

TEST_CASE("a machine without a GPU says so when asked for one") {
  if (contains(field(run_well({"info", "--json"}), "devices"), "cuda")) {
    WARN("skipped: there is a GPU");
    return;
  }
  check_without_gpu(MUONLAB_BINARY,
                    {MUONLAB_HAS_CUDA ? "no GPU can be used on this machine ("
                                      : "this build of muonlab has no CUDA backend"});
}

#include "tests/apps/program.h"

using namespace muonlab::test;

// The whole program with the backend on the emulated GPU, whose memory and number are chosen.

namespace {

Setup on_gpu(const std::string& words) {
  return {.environment = {{"MUONLAB_EMULATION", words}}, .program = MUONLAB_EMULATED_BINARY};
}

/// The smallest corpus, since evaluation of all of it takes longest here.
Arguments brief(const std::string& folder, int steps, const Arguments& more = {}) {
  return train(folder, steps, Arguments{"--builtin_size", "10000"} + more);
}

std::string info(const std::string& run, const std::string& key) {
  return field(run_well({"info", run, "--json"}, on_gpu("")), key);
}

}  // namespace

TEST_CASE("--device auto takes the GPU and says so, and what it trains is used on the CPU") {
  const TempFolder folder;
  const std::string text = run_well(brief(folder / "gpu", 3), on_gpu(""));
  CHECK(text.rfind("muonlab 0.1.0: cuda:0, Emulated CUDA device, 1.0 GiB, ", 0) == 0);
  CHECK(contains(run_well({"info"}, on_gpu("")), "cuda:0: Emulated CUDA device"));
  const std::string cpu = run_well(brief(folder / "cpu", 3, {"--device", "cpu"}), on_gpu(""));
  CHECK(cpu.rfind("muonlab 0.1.0: cpu, 1 thread, ", 0) == 0);
  const auto loss = [&](const std::string& run) { return std::stod(info(run, "val_loss")); };
  CHECK(loss(folder / "gpu") == Approx(loss(folder / "cpu")).epsilon(1e-4));
}

TEST_CASE("without a device --device cuda says so, and auto takes the CPU") {
  const TempFolder folder;
  const Setup none = on_gpu("devices=0");
  check_error(run(brief(folder / "run", 2, {"--device", "cuda"}), none), 1,
              {"no GPU can be used on this machine (no CUDA-capable device is detected)",
               "or use --device cpu\n"});
  CHECK(!fs::exists(folder / "run"));
  CHECK(run_well(brief(folder / "run", 2), none).rfind("muonlab 0.1.0: cpu, ", 0) == 0);
}

TEST_CASE("out of memory on the GPU ends a run with its checkpoint intact") {
  const TempFolder folder;
  const std::string whole = folder / "whole", broken = folder / "broken";
  const Arguments more{"--checkpoint_interval", "4"};
  run_well(brief(whole, 8, more), on_gpu(""));
  run_well(brief(broken, 4, more + Arguments{"--horizon", "8"}), on_gpu(""));
  const std::string saved = slurp(checkpoint(broken, 4));
  REQUIRE(!saved.empty());

  // The backend itself takes 4 MiB, for uploads. Less than that; hardly room for a weight; for all
  // weights and the optimizer's state, but not for a step.
  const Arguments go_on{"train", "--resume", broken, "--steps", "8"};
  for (const auto& [kib, begins] : {std::pair(3000, "out of memory on the GPU: 1.0 MiB were"),
                                    {4100, "out of memory on the GPU: "},
                                    {4200, "step 4: out of memory on the GPU: "}}) {
    INFO(kib << " KiB");
    const Outcome outcome = run(go_on, on_gpu(fmt::format("bytes={}", kib * 1024)));
    check_error(outcome, 1,
                {std::string("muonlab: ") + begins, " asked for (Emulated CUDA device, ",
                 fmt::format(" of {:.1f} MiB free); use a smaller batch", kib / 1024.0)});
    const bool running = contains(outcome.err, "step 4");
    CHECK(contains(outcome.err,
                   "the checkpoint of step 4 is whole, so when this is mended go on") == running);
    CHECK(slurp(checkpoint(broken, 4)) == saved);
  }
  run_well(go_on, on_gpu(""));
  CHECK(info(broken, "weights_sha256") == info(whole, "weights_sha256"));
}

TEST_CASE("a run has the same bits in every order of threads and streams") {
  const TempFolder folder;
  const auto weights = [&](const std::string& words) {
    const std::string run = folder / words;
    run_well(brief(run, 3, {"--optimizer", "muon", "--dropout", "0.1"}), on_gpu(words));
    return info(run, "weights_sha256");
  };
  const std::string forward = weights("forward");
  for (const char* words : {"reverse", "random", "forward lazy", "random lazy seed=2"}) {
    INFO(words);
    CHECK(weights(words) == forward);
  }
}

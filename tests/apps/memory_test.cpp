#include "apps/memory.h"

#include <fmt/format.h>

#include "apps/trainer.h"
#include "core/backend.h"
#include "tests/apps/program.h"

using namespace muonlab;
using namespace muonlab::test;

namespace {

double bytes_of(const std::vector<NamedTensor>& tensors) {
  double sum = 0;
  for (const NamedTensor& t : tensors) sum += static_cast<double>(t.tensor.bytes());
  return sum;
}

// The sanitizers map far more address space than a test can leave them.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kAddressSpaceIsOurs = false;
#else
constexpr bool kAddressSpaceIsOurs = true;
#endif

struct Case {
  const char* optimizer;
  bool bias, tied;
  std::int64_t n_kv_head, vocab_size, batch, grad_accum;
  double dropout;
};

}  // namespace

TEST_CASE(
    "the memory of a training step is that of the tensors, and a bound close below its peak") {
  for (const Case& c :
       {Case{"muon", true, false, 2, 130, 3, 2, 0.1}, Case{"adamw", false, true, 0, 65, 4, 1, 0},
        Case{"sgd", true, true, 1, 1500, 6, 1, 0}}) {
    INFO(fmt::format("{} bias {} tied {} kv {}", c.optimizer, c.bias, c.tied, c.n_kv_head));
    GptConfig model;
    model.n_layer = 6;
    model.n_head = 4;
    model.n_kv_head = c.n_kv_head;
    model.n_embd = 128;
    model.block_size = 128;
    model.vocab_size = c.vocab_size;
    model.bias = c.bias;
    model.tied_head = c.tied;
    model.dropout = c.dropout;
    OptimizerConfig config;
    config.optimizer = c.optimizer;
    const StepMemory need = step_memory(model, config, c.batch, c.grad_accum);
    GptConfig deeper = model;
    deeper.n_layer += 1;
    const double deeper_activations =
        step_memory(deeper, config, c.batch, c.grad_accum).activations;

    const Allocator& allocator = backend_of(Device{}).allocator();
    const auto before = static_cast<double>(allocator.stats().live);
    const Gpt gpt(model, 1);
    Optimizer optimizer(gpt.parameters(), std::move(config));
    CHECK(need.weights == 4.0 * static_cast<double>(gpt.parameter_count()));
    CHECK(need.state == bytes_of(optimizer.state()));

    Trainer trainer(
        gpt, optimizer,
        [&](std::int64_t, std::int64_t) {
          Batch batch{Tensor::zeros({c.batch, model.block_size}, DType::i32),
                      Tensor::zeros({c.batch, model.block_size}, DType::i32)};
          return batch;
        },
        c.grad_accum, 1);
    for (int step = 0; step < 2; ++step) trainer.step(step);
    // The peak of the allocator is over the whole process, in which the cases follow each other
    // from small to large.
    const double peak = static_cast<double>(allocator.stats().peak) - before;
    CHECK(need.total() <= peak);
    // What is live beside these in the backward pass, gradients of activations, is less than one
    // block keeps.
    CHECK(peak <= need.total() + deeper_activations - need.activations);
  }
}

TEST_CASE("sizes that cannot fit in memory are refused with what is needed and what to lower") {
  const TempFolder folder;
  const std::string run_folder = folder / "run";
  check_error(run(train(run_folder, 4, {"--n_embd", "4096", "--n_layer", "1000"})), 2,
              {"a training step needs at least 2.9 TiB", "weights 750.", "gradients 750.",
               "optimizer state 1.5 TiB", "this machine has", "lower --n_embd or --n_layer"});
  check_error(
      run(train(run_folder, 4, {"--batch", "65536", "--block_size", "1024", "--n_embd", "1024"})),
      2, {"activations", "this machine has", "--block_size or --batch"});
  check_error(run({"bench", "--n_embd", "65536", "--n_layer", "1000", "--json"}), 2,
              {"a training step needs", "750.0 TiB", "--n_embd"});
  check_error(run({"bench", "--vocab_size", "10000000", "--n_embd", "65536", "--generate", "5"}), 2,
              {"sampling needs at least 3.1 TiB", "--n_embd"});
  CHECK(!fs::exists(run_folder));
}

TEST_CASE("a limit on the address space counts as the machine's memory") {
  if (!kAddressSpaceIsOurs) return;
  const TempFolder folder;
  const std::string run_folder = folder / "run";
  Setup setup;
  setup.address_space = rlim_t{1} << 30;
  // shakespeare-gpu keeps 1.7 GiB of activations.
  check_error(run({"bench", "--preset", "shakespeare-gpu", "--steps", "1"}, setup), 2,
              {"activations 1.7 GiB", "ulimit -v allows 1.0 GiB", "lower --block_size or --batch"});
  // What fits is not refused.
  run_well(train(run_folder, 4), setup);
  run_well({"sample", run_folder, "--tokens", "5", "--threads", "1"}, setup);
}

TEST_CASE("a run that fits where it was trained is refused where it cannot fit") {
  if (!kAddressSpaceIsOurs) return;
  const TempFolder folder;
  const std::string run_folder = folder / "run";
  run_well(train(run_folder, 1,
                 {"--n_layer", "6", "--n_embd", "768", "--eval_interval", "0", "--optimizer", "sgd",
                  "--builtin_size", "10000"}));
  Setup setup;
  setup.address_space = rlim_t{128} << 20;  // the weights alone take 162 MiB
  for (const std::string command : {"sample", "eval", "info"})
    check_error(run({command, run_folder}, setup), 2,
                {"the model in", "weights 162.", "ulimit -v allows 128.0 MiB"});
}

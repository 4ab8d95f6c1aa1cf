#include "nn/gpt.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "core/autograd.h"
#include "optim/optimizer.h"
#include "tests/cuda/gpu.h"
#include "tests/support/array.h"

using namespace muonlab;
using namespace muonlab::test;

namespace {

GptConfig config() {
  GptConfig c;
  c.n_layer = 2;
  c.n_head = 4;
  c.n_embd = 64;
  c.block_size = 32;
  c.vocab_size = 65;
  return c;
}

struct Trained {
  std::vector<double> losses;
  std::vector<Tensor> weights;
};

/// Some steps from the same weights on the same batches.
Trained train(Device device, const GptConfig& c, const std::string& optimizer,
              std::uint64_t steps) {
  const Gpt model(c, 7, DType::f32, device);
  OptimizerConfig o;
  o.optimizer = optimizer;
  o.schedule.kind = ScheduleKind::constant;
  o.schedule.warmup = 0;
  if (optimizer == "muon") o.lr = 0.02;
  Optimizer driver(model.parameters(), std::move(o));
  Trained out;
  for (std::uint64_t step = 0; step < steps; ++step) {
    const std::string name = "step " + std::to_string(step);
    const Shape shape{2, c.block_size};
    driver.zero_grad();
    Tape tape;
    Recording recording(tape);
    const Forward forward{.training = true, .seed = 3, .micro_batch = step};
    // The ids follow from one another, so that there is something to learn.
    Tensor ids = random_ids(shape, c.vocab_size, name), targets = ids.clone();
    for (std::int32_t& t : targets.host<std::int32_t>())
      t = (3 * t + 1) % static_cast<std::int32_t>(c.vocab_size);
    const Var loss = model.loss(ids.to(device), targets.to(device), forward);
    out.losses.push_back(loss.value().item());
    tape.backward(loss);
    driver.step();
  }
  for (const Parameter& p : model.parameters()) out.weights.push_back(p.value().to(Device{}));
  return out;
}

}  // namespace

TEST_CASE("a GPT trains on the GPU as it does on the CPU", "[cuda][gpt]") {
  MUONLAB_NEEDS_GPU();
  GptConfig other = config();
  other.bias = true;
  other.dropout = 0.1;
  other.n_kv_head = 2;
  other.tied_head = false;
  other.activation = Activation::gelu_tanh;
  struct Case {
    GptConfig config;
    const char* optimizer;
    std::uint64_t steps;
  };
  for (const auto& [c, optimizer, steps] :
       {Case{config(), "adamw", 20}, Case{config(), "muon", 20}, Case{other, "adamw", 6}}) {
    INFO(optimizer << ", dropout " << c.dropout);
    const Trained cpu = train(Device{}, c, optimizer, steps),
                  gpu = train(kGpu, c, optimizer, steps);
    // The loss begins as that of a guess, log 65, and falls.
    CHECK(cpu.losses.front() == Approx(std::log(65.0)).epsilon(0.05));
    CHECK(cpu.losses.back() < cpu.losses.front());
    // What issue 4 asks for. Rounding differs by some 1e-7 a step.
    for (std::size_t i = 0; i < cpu.losses.size(); ++i)
      CHECK(gpu.losses[i] == Approx(cpu.losses[i]).epsilon(1e-4));
    // All weights of a tensor together: where a gradient is no larger than its rounding, Adam's
    // quotient makes a full step of it, in either direction. Biases are left out for that reason:
    // softmax does not see the bias of a key.
    for (std::size_t i = 0; i < cpu.weights.size(); ++i) {
      const Array want(cpu.weights[i]);
      if (c.bias && want.shape.rank() == 1) continue;
      Array difference(gpu.weights[i]);
      for (std::int64_t e = 0; e < want.numel(); ++e) difference[e] -= want[e];
      CHECK(rms(difference) < 1e-4 * rms(want));
    }
  }
}

TEST_CASE("two runs on the GPU have the same bits", "[cuda][gpt]") {
  MUONLAB_NEEDS_GPU();
  GptConfig c = config();
  c.dropout = 0.1;
  c.n_kv_head = 2;
  const Trained first = train(kGpu, c, "muon", 4), second = train(kGpu, c, "muon", 4);
  CHECK(first.losses == second.losses);
  for (std::size_t i = 0; i < first.weights.size(); ++i)
    CHECK(same_bits(first.weights[i], second.weights[i]));
}

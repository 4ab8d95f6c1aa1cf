#include "nn/gpt.h"

#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "core/autograd.h"
#include "core/checkpoint.h"
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

/// A model on its way, from the same weights on the same batches for every device.
class Training {
 public:
  Training(Device device, const GptConfig& config, const std::string& optimizer)
      : device_(device),
        model_(config, 7, DType::f32, device),
        driver_(model_.parameters(), options(optimizer)) {}

  /// Makes update number `step`; the loss before it.
  double step(std::uint64_t step) {
    const std::string name = "step " + std::to_string(step);
    const GptConfig& c = model_.config;
    driver_.zero_grad();
    Tape tape;
    Recording recording(tape);
    const Forward forward{.training = true, .seed = 3, .micro_batch = step};
    // The ids follow from one another, so that there is something to learn.
    Tensor ids = random_ids(Shape{2, c.block_size}, c.vocab_size, name), targets = ids.clone();
    for (std::int32_t& t : targets.host<std::int32_t>())
      t = (3 * t + 1) % static_cast<std::int32_t>(c.vocab_size);
    const Var loss = model_.loss(ids.to(device_), targets.to(device_), forward);
    const double value = loss.value().item();
    tape.backward(loss);
    driver_.step();
    return value;
  }
  std::vector<double> steps(std::uint64_t first, std::uint64_t last) {
    std::vector<double> losses;
    for (std::uint64_t k = first; k < last; ++k) losses.push_back(step(k));
    return losses;
  }

  /// Weights and the optimizer's state.
  std::vector<NamedTensor> tensors() const {
    std::vector<NamedTensor> all = driver_.state();
    for (const Parameter& p : model_.parameters()) all.push_back({p.info.name, p.value()});
    return all;
  }
  void set_steps_done(std::int64_t steps) { driver_.set_steps_done(steps); }
  std::vector<Tensor> weights() const {
    std::vector<Tensor> all;
    for (const Parameter& p : model_.parameters()) all.push_back(p.value().to(Device{}));
    return all;
  }

 private:
  static OptimizerConfig options(const std::string& optimizer) {
    OptimizerConfig o;
    o.optimizer = optimizer;
    o.schedule.kind = ScheduleKind::constant;
    o.schedule.warmup = 0;
    if (optimizer == "muon") o.lr = 0.02;
    return o;
  }

  Device device_;
  Gpt model_;
  Optimizer driver_;
};

struct Trained {
  std::vector<double> losses;
  std::vector<Tensor> weights;
};
Trained train(Device device, const GptConfig& c, const std::string& optimizer,
              std::uint64_t steps) {
  Training training(device, c, optimizer);
  const std::vector<double> losses = training.steps(0, steps);
  return {losses, training.weights()};
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

TEST_CASE("a GPT trains in bf16 about as it does in f32", "[cuda][gpt][bf16]") {
  MUONLAB_NEEDS_GPU();
  const std::vector<double> want = train(Device{}, config(), "adamw", 20).losses;
  const InBf16 bf16;
  const std::vector<double> got = train(kGpu, config(), "adamw", 20).losses;
  // A loss lies some 30 roundings behind the token: each is off by kU / sqrt(3) of its number in
  // the root of the mean square, and all of them by 0.012 of the logits, whose size is about 1. The
  // loss is a mean over 64 tokens of differences of two logits: 0.012 sqrt(2 / 64) = 0.002, three
  // times that at most. Gradients are twice as deep, so updates err by 2 % of their length, in
  // directions of their own that lead neither up nor down: 2 % of the way at most.
  for (std::size_t i = 0; i < want.size(); ++i) {
    INFO("step " << i << ": " << got[i] << " in bf16, " << want[i] << " in f32");
    CHECK(std::abs(got[i] - want[i]) <= 0.006 + 0.02 * (want.front() - want[i]));
  }
  CHECK(got != want);
  CHECK(want.front() - want.back() > 1);
}

TEST_CASE("a run in bf16 has f32 weights, goes on from its checkpoint, and has the same bits",
          "[cuda][gpt][bf16]") {
  MUONLAB_NEEDS_GPU();
  GptConfig c = config();
  c.dropout = 0.1;
  c.n_kv_head = 2;
  const InBf16 bf16;
  Training whole(kGpu, c, "muon");
  whole.steps(0, 4);
  const auto file = std::filesystem::temp_directory_path() /
                    ("muonlab-bf16-test-" + std::to_string(::getpid()) + ".safetensors");
  {
    Training first(kGpu, c, "muon");
    first.steps(0, 2);
    write_tensors(file, first.tensors(), {});
  }
  const TensorFile checkpoint(file);
  std::filesystem::remove(file);
  for (const TensorFile::Entry& e : checkpoint.entries()) CHECK(e.dtype == DType::f32);
  Training second(kGpu, c, "muon");
  std::vector<NamedTensor> into = second.tensors();
  checkpoint.read_all(into);
  second.set_steps_done(2);
  second.steps(2, 4);
  const std::vector<NamedTensor> got = second.tensors(), want = whole.tensors();
  for (std::size_t i = 0; i < want.size(); ++i) {
    INFO(want[i].name);
    CHECK(same_bits(got[i].tensor, want[i].tensor));
  }
}

#include "apps/trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <span>
#include <utility>

#include "core/error.h"
#include "core/math.h"
#include "core/ops/cross_entropy.h"
#include "core/profile.h"

namespace muonlab {
namespace {

std::string gradient_problem(const std::string& parameter) {
  return "the gradient of " + parameter + " is not finite";
}

const Parameter* first_with_bad_weight(std::span<const Parameter> params) {
  const auto bad = std::find_if(params.begin(), params.end(), [](const Parameter& p) {
    return !std::isfinite(math::sum_squares(p.value()));
  });
  return bad == params.end() ? nullptr : &*bad;
}

std::string weight_problem(const Parameter& p) {
  return "the weights of " + p.info.name + " are not finite";
}

}  // namespace

std::string first_non_finite(const Gpt& model) {
  const std::vector<Parameter> params = model.parameters();
  if (const Parameter* bad = first_with_bad_weight(params)) return weight_problem(*bad);
  for (const Parameter& p : params)
    if (p.grad().defined() && !std::isfinite(math::sum_squares(p.grad())))
      return gradient_problem(p.info.name);
  return "all weights and gradients are finite";
}

void require_finite_weights(const Gpt& model, const std::string& where) {
  const std::vector<Parameter> params = model.parameters();
  if (const Parameter* bad = first_with_bad_weight(params))
    throw DivergedError(fmt::format(
        "{}: {}, so nothing can be computed with this model; an earlier checkpoint may be sound",
        where, weight_problem(*bad)));
}

BatchSource random_batches(const GptConfig& model, const RunConfig& run) {
  constexpr std::uint64_t kBatches = 8;
  const std::int64_t rows = run.batch, block = model.block_size;
  const auto vocab = static_cast<std::uint64_t>(model.vocab_size);
  std::vector<Batch> batches;
  for (std::uint64_t i = 0; i < kBatches; ++i) {
    const Rng rng(run.seed, RngPurpose::batch, i);
    const auto tensor = [&](std::uint64_t from) {
      Tensor t = Tensor::empty({rows, block}, DType::i32);
      for (std::int32_t& id : t.host<std::int32_t>())
        id = static_cast<std::int32_t>(rng.below(vocab, from++));
      return t;
    };
    batches.push_back({tensor(0), tensor(static_cast<std::uint64_t>(rows * block))});
  }
  return [batches, accum = run.grad_accum](std::int64_t step, std::int64_t micro) {
    return batches[static_cast<std::uint64_t>(step * accum + micro) % kBatches];
  };
}

Tensor draw_labels(const Tensor& logits, const Rng& rng) {
  const std::int64_t vocab = logits.shape()[-1], rows = logits.numel() / vocab;
  std::vector<std::int64_t> sizes;
  for (int i = 0; i + 1 < logits.shape().rank(); ++i) sizes.push_back(logits.shape()[i]);
  Tensor labels = Tensor::empty(Shape(sizes), DType::i32);
  const std::span<std::int32_t> out = labels.host<std::int32_t>();
  const std::vector<double> all = logits.to_vector();
  for (std::int64_t r = 0; r < rows; ++r) {
    const auto row = all.begin() + r * vocab;
    const double largest = *std::max_element(row, row + vocab);
    double total = 0;
    for (auto x = row; x != row + vocab; ++x) total += std::exp(*x - largest);
    double left = rng.uniform(static_cast<std::uint64_t>(r)) * total;
    std::int32_t label = 0;
    while (label + 1 < vocab && (left -= std::exp(row[label] - largest)) >= 0) ++label;
    out[static_cast<std::size_t>(r)] = label;
  }
  return labels;
}

Trainer::Trainer(const Gpt& model, Optimizer& optimizer, BatchSource batches,
                 std::int64_t grad_accum, std::uint64_t seed)
    : model_(model),
      optimizer_(optimizer),
      batches_(std::move(batches)),
      grad_accum_(grad_accum),
      seed_(seed) {}

Forward Trainer::forward(std::int64_t step, std::int64_t micro) const {
  Forward forward;
  forward.training = true;
  forward.seed = seed_;
  forward.micro_batch = static_cast<std::uint64_t>(step * grad_accum_ + micro);
  return forward;
}

// Liu et al. 2023, "Sophia", algorithm 2 (Gauss-Newton-Bartlett).
void Trainer::sample_gradients(std::int64_t step) {
  const Batch batch = batches_(step, 0);
  Tape tape;
  Var loss;
  {
    Recording recording(tape);
    Var logits = model_.logits(batch.ids, forward(step, 0));
    const Rng rng(seed_, RngPurpose::labels, static_cast<std::uint64_t>(step));
    const Tensor labels = draw_labels(logits.value(), rng);
    loss = softmax_cross_entropy(std::move(logits), labels);
  }
  tape.backward(loss);
  optimizer_.take_sampled(batch.ids.numel());
}

StepResult Trainer::step(std::int64_t step) {
  StepResult result;
  optimizer_.zero_grad();
  if (optimizer_.wants_sampled()) {
    sample_gradients(step);
    optimizer_.zero_grad();
  }
  for (std::int64_t micro = 0; micro < grad_accum_; ++micro) {
    const Batch batch = batches_(step, micro);
    Tape tape;
    Var loss;
    {
      Recording recording(tape);
      loss = model_.loss(batch.ids, batch.targets, forward(step, micro));
    }
    result.loss += loss.value().item() / static_cast<double>(grad_accum_);
    tape.backward(loss, 1.0 / static_cast<double>(grad_accum_));
  }
  if (!std::isfinite(result.loss)) {
    result.optimizer.skipped = true;
    result.optimizer.non_finite = first_non_finite(model_);
    return result;
  }
  ProfileScope scope("optimizer");
  const auto start = std::chrono::steady_clock::now();
  result.optimizer = optimizer_.step();
  result.optimizer_s =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (result.optimizer.skipped)
    result.optimizer.non_finite = gradient_problem(result.optimizer.non_finite);
  return result;
}

Evaluator::Evaluator(Tokens split, std::int64_t block, std::int64_t batch, std::int64_t batches)
    : split_(std::move(split)), block_(block) {
  const std::int64_t total = window_count(split_, block);
  if (total == 0)
    throw ConfigError(
        fmt::format("the split has {} tokens, fewer than one window of {} and its target",
                    split_.size(), block));
  const std::int64_t whole = (total + batch - 1) / batch;
  if (batches == 0 || batches >= whole) {
    for (std::int64_t first = 0; first < total; first += batch)
      parts_.push_back({first, std::min(batch, total - first)});
  } else {
    for (std::int64_t i = 0; i < batches; ++i)
      parts_.push_back({(total - batch) * i / std::max<std::int64_t>(batches - 1, 1), batch});
  }
}

std::int64_t Evaluator::windows() const {
  std::int64_t count = 0;
  for (const Part& part : parts_) count += part.count;
  return count;
}

double Evaluator::evaluate(const Gpt& model, const std::function<bool()>& stop) const {
  double sum = 0;
  for (const Part& part : parts_) {
    if (stop()) return std::numeric_limits<double>::quiet_NaN();
    const Batch batch = muonlab::windows(split_, block_, part.first, part.count);
    sum += model.loss(batch.ids, batch.targets, Forward{}).value().item() *
           static_cast<double>(part.count);
  }
  return sum / static_cast<double>(windows());
}

}  // namespace muonlab

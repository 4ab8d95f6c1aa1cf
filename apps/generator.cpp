#include "apps/generator.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "apps/trainer.h"
#include "core/rng.h"

namespace muonlab {
namespace {

Tensor as_row(std::span<const std::int32_t> ids) { return Tensor::from({1, std::ssize(ids)}, ids); }

}  // namespace

std::int32_t draw_token(std::span<const double> logits, const SamplingOptions& options, double u) {
  const auto most_likely = std::max_element(logits.begin(), logits.end());
  if (options.temperature == 0) return static_cast<std::int32_t>(most_likely - logits.begin());

  std::vector<std::int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  const auto logit = [&](std::int32_t id) { return logits[static_cast<std::size_t>(id)]; };
  const bool all = options.top_k == 0 || options.top_k >= std::ssize(ids);
  if (!all || options.top_p < 1)
    std::stable_sort(ids.begin(), ids.end(),
                     [&](std::int32_t a, std::int32_t b) { return logit(a) > logit(b); });
  if (!all) ids.resize(static_cast<std::size_t>(options.top_k));

  std::vector<double> cumulative(ids.size());
  double sum = 0;
  for (std::size_t i = 0; i < ids.size(); ++i)
    cumulative[i] = sum += std::exp((logit(ids[i]) - *most_likely) / options.temperature);
  if (options.top_p < 1) {
    const auto last = std::lower_bound(cumulative.begin(), cumulative.end(), options.top_p * sum);
    cumulative.erase(std::min(last + 1, cumulative.end()), cumulative.end());
  }
  const auto chosen = std::upper_bound(cumulative.begin(), cumulative.end(), u * cumulative.back());
  return ids[static_cast<std::size_t>(std::min(chosen, cumulative.end() - 1) - cumulative.begin())];
}

Generator::Generator(const Gpt& model, std::span<const std::int32_t> prompt,
                     const SamplingOptions& options, bool cache)
    : model_(model), options_(options), use_cache_(cache) {
  const auto keep =
      std::min<std::size_t>(prompt.size(), static_cast<std::size_t>(model.config.block_size));
  window_.assign(prompt.end() - static_cast<std::ptrdiff_t>(keep), prompt.end());
  if (use_cache_) cache_ = model.make_cache(1);
}

std::int32_t Generator::next() {
  const std::int64_t block = model_.config.block_size;
  if (std::ssize(window_) > block) {
    window_.erase(window_.begin(), window_.end() - (block + 1) / 2);
    cache_.length = 0;
  }
  const std::vector<double> logits = next_logits().to_vector();
  if (!std::all_of(logits.begin(), logits.end(), [](double x) { return std::isfinite(x); }))
    throw DivergedError(
        "the model's prediction is not finite, although all weights are; some must be far too "
        "large");
  const double u = Rng(options_.seed, RngPurpose::sample).uniform(drawn_++);
  const std::int32_t id = draw_token(logits, options_, u);
  window_.push_back(id);
  return id;
}

Tensor Generator::next_logits() {
  const std::span<const std::int32_t> window(window_);
  if (use_cache_)
    return model_.decode(as_row(window.subspan(static_cast<std::size_t>(cache_.length))), cache_);
  const Tensor logits = model_.logits(as_row(window), Forward{}).value();
  const std::int64_t rows = logits.shape().rows();
  return logits.reshape({rows, logits.shape()[-1]}).slice(rows - 1, rows);
}

}  // namespace muonlab

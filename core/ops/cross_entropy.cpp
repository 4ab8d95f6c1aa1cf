// loss = mean_n (lse(z_n) - z_n[y_n])      dz_n = dloss / N (softmax(z_n) - onehot(y_n))
#include "core/ops/cross_entropy.h"

#include <fmt/format.h>

#include "core/backend.h"
#include "core/error.h"
#include "core/ops/check.h"
#include "core/profile.h"

namespace muonlab {
namespace {

struct CrossEntropyOp {
  Tensor targets;
  Tensor logits{}, lse{};

  Tensor forward(const Tensor& logits_in) {
    const ProfileScope profile("cross_entropy");
    logits = logits_in;
    const Shape rows{logits.shape().rows()};
    const DType wide = wide_type(logits.dtype());
    lse = Tensor::empty(rows, wide, logits.device());
    const Tensor losses = Tensor::empty(rows, wide, logits.device());
    Backend& backend = backend_of(logits.device());
    backend.cross_entropy({.logits = logits, .targets = targets, .losses = losses, .lse = lse});
    Tensor mean = Tensor::empty({}, wide, logits.device());
    mean.fill(backend.sum(losses) / static_cast<double>(rows[0]));
    return mean;
  }

  void backward(Tensor dy, std::span<GradSink, 1> in) {
    const ProfileScope profile("cross_entropy");
    const double scale = dy.item() / static_cast<double>(logits.shape().rows());
    Backend& backend = backend_of(logits.device());
    if (logits.unique()) {
      backend.cross_entropy_backward(
          {.logits = logits, .targets = targets, .lse = lse, .dlogits = logits, .scale = scale});
      in[0].give(logits);
    } else {
      auto [dst, beta] = in[0].open(logits);
      backend.cross_entropy_backward({.logits = logits,
                                      .targets = targets,
                                      .lse = lse,
                                      .dlogits = dst,
                                      .scale = scale,
                                      .beta = beta});
    }
  }
};

}  // namespace

Var softmax_cross_entropy(Var logits, const Tensor& targets) {
  const Shape& z = logits.shape();
  if (z.rank() == 0) check_rank("softmax_cross_entropy", "logits", logits.value(), 2);
  if (targets.shape().with_appended(z[-1]) != z)
    throw ShapeError(fmt::format(
        "[softmax_cross_entropy] targets must be as logits {} without the last dim; got {}",
        z.str(), targets.shape().str()));
  check_ids("softmax_cross_entropy", "targets", targets, z[-1]);
  return record(CrossEntropyOp{targets.to(logits.value().device())}, logits);
}

}  // namespace muonlab

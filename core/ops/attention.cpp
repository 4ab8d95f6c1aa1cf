// Formulas of both passes: core/cpu/attention.cpp.
#include "core/ops/attention.h"

#include <fmt/format.h>

#include <cmath>

#include "core/backend.h"
#include "core/error.h"
#include "core/ops/check.h"
#include "core/profile.h"

namespace muonlab {
namespace {

void check_packed(const char* op, const Tensor& qkv, const AttentionShape& s) {
  check_rank(op, "qkv", qkv, 3);
  if (s.heads < 1 || s.kv_heads < 1 || s.heads % s.kv_heads != 0)
    throw ShapeError(fmt::format("[{}] {} query heads must be a multiple of {} key and value heads",
                                 op, s.heads, s.kv_heads));
  check_shape(op, "qkv", qkv, qkv.shape().with_last(s.packed()),
              fmt::format("for {} query and {} key and value heads of size {}", s.heads, s.kv_heads,
                          s.head_size));
}

struct AttentionOp {
  AttentionShape shape;
  Tensor max_logit;
  AttentionDropout dropout;
  Tensor qkv{}, y{}, lse{};

  AttentionArgs args() const {
    const std::int64_t q = shape.heads * shape.head_size, kv = shape.kv_heads * shape.head_size;
    return {.q = qkv,
            .k = qkv,
            .v = qkv,
            .q_offset = 0,
            .k_offset = q,
            .v_offset = q + kv,
            .heads = shape.heads,
            .kv_heads = shape.kv_heads,
            .head_size = shape.head_size,
            .keys = qkv.shape()[1],
            .scale = 1 / std::sqrt(static_cast<double>(shape.head_size)),
            .dropout = dropout.p,
            .dropout_seed = dropout.seed,
            .dropout_stream = dropout.stream,
            .y = y,
            .lse = lse};
  }

  Tensor forward(const Tensor& qkv_in) {
    const ProfileScope profile("attention");
    qkv = qkv_in;
    const std::int64_t b = qkv.shape()[0], t = qkv.shape()[1];
    y = Tensor::empty({b, t, shape.heads * shape.head_size}, qkv.dtype(), qkv.device());
    lse = Tensor::empty({b, shape.heads, t}, wide_type(qkv.dtype()), qkv.device());
    AttentionArgs a = args();
    a.max_logit = max_logit;
    backend_of(qkv.device()).attention(a);
    return y;
  }

  void backward(Tensor dy, std::span<GradSink, 1> in) {
    const ProfileScope profile("attention backward");
    Tensor dqkv = Tensor::empty(qkv.shape(), qkv.dtype(), qkv.device());
    backend_of(qkv.device())
        .attention_backward({.forward = args(), .dy = dy, .dq = dqkv, .dk = dqkv, .dv = dqkv});
    in[0].give(dqkv);
  }
};

}  // namespace

Var causal_attention(const Var& qkv, const AttentionShape& shape, Tensor max_logit,
                     const AttentionDropout& dropout) {
  check_packed("causal_attention", qkv.value(), shape);
  if (!(dropout.p >= 0 && dropout.p < 1))
    throw ConfigError(
        fmt::format("[causal_attention] dropout must be in [0, 1); got {}", dropout.p));
  if (max_logit.defined()) {
    check_shape("causal_attention", "max_logit", max_logit, {shape.heads},
                "one value per query head");
    check_wide("causal_attention", "max_logit", max_logit, qkv.value());
  }
  return record(AttentionOp{shape, std::move(max_logit), dropout}, qkv);
}

Tensor cached_attention(const Tensor& qkv, const AttentionShape& shape, Tensor& cache,
                        std::int64_t past) {
  const ProfileScope profile("attention");
  check_packed("cached_attention", qkv, shape);
  const std::int64_t b = qkv.shape()[0], t = qkv.shape()[1];
  const std::int64_t q = shape.heads * shape.head_size, kv = shape.kv_heads * shape.head_size;
  check_alike("cached_attention", "cache", cache, qkv);
  check_rank("cached_attention", "cache", cache, 3);
  check_shape("cached_attention", "cache", cache, {b, cache.shape()[1], 2 * kv},
              "rows of keys and values");
  if (past < 0 || past + t > cache.shape()[1])
    throw ShapeError(fmt::format("[cached_attention] the cache holds {} positions; {} are needed",
                                 cache.shape()[1], past + t));
  Backend& backend = backend_of(qkv.device());
  const auto item = static_cast<std::int64_t>(size_of(qkv.dtype()));
  for (std::int64_t r = 0; r < b * t; ++r)
    backend.copy(static_cast<char*>(cache.raw()) +
                     ((r / t * cache.shape()[1] + past + r % t) * 2 * kv) * item,
                 static_cast<const char*>(qkv.raw()) + (r * shape.packed() + q) * item,
                 static_cast<std::size_t>(2 * kv * item));
  Tensor y = Tensor::empty({b, t, q}, qkv.dtype(), qkv.device());
  Tensor lse = Tensor::empty({b, shape.heads, t}, wide_type(qkv.dtype()), qkv.device());
  backend.attention({.q = qkv,
                     .k = cache,
                     .v = cache,
                     .q_offset = 0,
                     .k_offset = 0,
                     .v_offset = kv,
                     .heads = shape.heads,
                     .kv_heads = shape.kv_heads,
                     .head_size = shape.head_size,
                     .keys = past + t,
                     .scale = 1 / std::sqrt(static_cast<double>(shape.head_size)),
                     .y = y,
                     .lse = lse});
  return y;
}

}  // namespace muonlab

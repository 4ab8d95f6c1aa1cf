#include "core/ops/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "core/backend.h"
#include "core/error.h"
#include "tests/support/array.h"
#include "tests/support/catch.h"
#include "tests/support/close.h"
#include "tests/support/reference.h"

using namespace muonlab;
using namespace muonlab::test;

namespace {

reference::Attention expected(const Array& qkv, const AttentionShape& s) {
  const std::int64_t q = s.heads * s.head_size, kv = s.kv_heads * s.head_size;
  return reference::causal_attention(reference::columns(qkv, 0, q),
                                     reference::columns(qkv, q, q + kv),
                                     reference::columns(qkv, q + kv, q + 2 * kv), s.heads,
                                     s.kv_heads, 1 / std::sqrt(static_cast<double>(s.head_size)));
}

const AttentionShape kShapes[] = {{1, 1, 8}, {4, 2, 6}, {3, 1, 5}};

}  // namespace

TEST_CASE("the maximum logit of each head is over unmasked positions, and runs on", "[attention]") {
  for (DType dtype : {DType::f32, DType::f64}) {
    for (const AttentionShape& s : kShapes) {
      for (std::int64_t time : {1, 7, 70, 130}) {
        INFO(name_of(dtype) << " " << s.heads << " heads, " << time << " positions");
        const Array first = normal_array(Shape{2, time, s.packed()}, "first");
        const Array second = normal_array(Shape{2, time, s.packed()}, "second");
        Tensor top = Tensor::empty({s.heads}, dtype);
        top.fill(-std::numeric_limits<double>::infinity());
        causal_attention(first.tensor(dtype), s, top);
        const auto near = [&](double x) {
          return Approx(x).epsilon(tolerance(dtype, s.head_size));
        };
        const std::vector<double> one = expected(first, s).max_logit;
        const std::vector<double> two = expected(second, s).max_logit;
        for (std::size_t h = 0; h < one.size(); ++h) CHECK(top.to_vector()[h] == near(one[h]));
        causal_attention(second.tensor(dtype), s, top);
        for (std::size_t h = 0; h < one.size(); ++h)
          CHECK(top.to_vector()[h] == near(std::max(one[h], two[h])));
      }
    }
  }
}

TEST_CASE("the saved log-sum-exp is that of the scaled logits", "[attention]") {
  const AttentionShape s{4, 2, 6};
  const std::int64_t time = 70, q = s.heads * s.head_size, kv = s.kv_heads * s.head_size;
  const Array qkv = normal_array(Shape{2, time, s.packed()}, "qkv");
  const Tensor packed = qkv.tensor(DType::f64);
  const Tensor y = Tensor::empty({2, time, q}, DType::f64);
  const Tensor lse = Tensor::empty({2, s.heads, time}, DType::f64);
  backend_of(Device{}).attention({.q = packed,
                                  .k = packed,
                                  .v = packed,
                                  .q_offset = 0,
                                  .k_offset = q,
                                  .v_offset = q + kv,
                                  .heads = s.heads,
                                  .kv_heads = s.kv_heads,
                                  .head_size = s.head_size,
                                  .keys = time,
                                  .scale = 1 / std::sqrt(6.0),
                                  .y = y,
                                  .lse = lse});
  CHECK(relative_error(Array(lse), expected(qkv, s).lse) <= tolerance(DType::f64, time));
}

TEST_CASE("attention behind a cache is the tail of attention over everything", "[attention]") {
  for (DType dtype : {DType::f32, DType::f64}) {
    for (const AttentionShape& s : kShapes) {
      const std::int64_t time = 140, room = 150, q = s.heads * s.head_size;
      const std::int64_t kv = s.kv_heads * s.head_size;
      const Array all = normal_array(Shape{2, time, s.packed()}, "all");
      const Array want = expected(all, s).y;
      for (std::int64_t past : {0, 1, 63, 64, 65, 139}) {
        // What the cache holds beyond its `past` rows must not matter.
        Tensor cache = Tensor::empty({2, room, 2 * kv}, dtype);
        cache.fill(std::nan(""));
        const auto part = [&](std::int64_t begin, std::int64_t end) {
          Array rows(Shape{2, end - begin, s.packed()});
          for (std::int64_t b = 0; b < 2; ++b)
            std::copy_n(all.values.begin() + (b * time + begin) * s.packed(),
                        (end - begin) * s.packed(),
                        rows.values.begin() + b * (end - begin) * s.packed());
          return rows.tensor(dtype);
        };
        if (past > 0) cached_attention(part(0, past), s, cache, 0);
        const Array got(cached_attention(part(past, time), s, cache, past));
        Array tail(Shape{2, time - past, q});
        for (std::int64_t b = 0; b < 2; ++b)
          std::copy_n(want.values.begin() + (b * time + past) * q, (time - past) * q,
                      tail.values.begin() + b * (time - past) * q);
        INFO(name_of(dtype) << " " << s.heads << " heads, " << past << " in the cache");
        CHECK(relative_error(got, tail) <= tolerance(dtype, time));
      }
    }
  }
}

TEST_CASE("logits of thousands neither overflow nor lose the winner", "[attention]") {
  const AttentionShape s{1, 1, 4};
  Array qkv = normal_array(Shape{1, 66, s.packed()}, "large");
  for (std::int64_t i = 0; i < qkv.numel(); ++i)
    if (i % s.packed() < 8) qkv[i] *= 100;  // queries and keys
  const Array got(causal_attention(qkv.tensor(DType::f32), s).value());
  // Logits near 10^4 round by 5e-4 in f32, and so do the weights of keys that nearly tie.
  CHECK(relative_error(got, expected(qkv, s).y) < 5e-3);
}

namespace {

/// The dropout mask (B, H, T, T) that each pass applies. Queries of zero give uniform probabilities
/// P, and unit vectors, one for each position (so D = T), as values and as gradients show them:
/// y = P M, dv = (P M)T.
struct Masks {
  std::vector<double> forward, backward;
};
Masks masks(std::int64_t batch, std::int64_t heads, std::int64_t time,
            const AttentionDropout& drop) {
  const std::int64_t width = heads * time, packed = 3 * width;
  Array qkv(Shape{batch, time, packed}), dy(Shape{batch, time, width});
  for (std::int64_t row = 0; row < batch * time; ++row)
    for (std::int64_t h = 0; h < heads; ++h) {
      qkv[row * packed + 2 * width + h * time + row % time] = 1;
      dy[row * width + h * time + row % time] = 1;
    }
  const Tensor x = qkv.tensor(DType::f64), dx = Tensor::empty(x.shape(), DType::f64);
  const AttentionArgs args{.q = x,
                           .k = x,
                           .v = x,
                           .q_offset = 0,
                           .k_offset = width,
                           .v_offset = 2 * width,
                           .heads = heads,
                           .kv_heads = heads,
                           .head_size = time,
                           .keys = time,
                           .scale = 1,
                           .dropout = drop.p,
                           .dropout_seed = drop.seed,
                           .dropout_stream = drop.stream,
                           .y = Tensor::empty({batch, time, width}, DType::f64),
                           .lse = Tensor::empty({batch, heads, time}, DType::f64)};
  Backend& backend = backend_of(Device{});
  backend.attention(args);
  backend.attention_backward(
      {.forward = args, .dy = dy.tensor(DType::f64), .dq = dx, .dk = dx, .dv = dx});
  const Array y(args.y), dv(dx);
  Masks m;
  for (std::int64_t b = 0; b < batch; ++b)
    for (std::int64_t h = 0; h < heads; ++h)
      for (std::int64_t i = 0; i < time; ++i)
        for (std::int64_t j = 0; j < time; ++j) {
          const auto keys = static_cast<double>(i + 1);
          m.forward.push_back(y[(b * time + i) * width + h * time + j] * keys);
          m.backward.push_back(dv[(b * time + j) * packed + 2 * width + h * time + i] * keys);
        }
  return m;
}

}  // namespace

TEST_CASE("dropout of attention drops its share, the same in both passes", "[attention]") {
  constexpr std::int64_t kBatch = 2, kHeads = 3, kTime = 130;
  constexpr auto kCount = static_cast<std::size_t>(kBatch * kHeads * kTime * kTime);
  constexpr double kPairs = kBatch * kHeads * kTime * (kTime + 1) / 2;
  for (double p : {0.1, 0.5, 0.9}) {
    INFO("p = " << p);
    const Masks m = masks(kBatch, kHeads, kTime, {p, 7, 11});
    REQUIRE(m.forward.size() == kCount);
    // Probabilities come from an exponential, a sum, a logarithm and a reciprocal: some eps each,
    // and the logarithm's, of log T, counts for its own size.
    const double kept = 1 / (1 - p), near = 40 * epsilon(DType::f64) * kept;
    double dropped = 0, differ_between_heads = 0;
    for (std::size_t e = 0; e < kCount; ++e) {
      const double forward = m.forward[e], backward = m.backward[e];
      const std::size_t query = e / kTime % kTime, key = e % kTime;
      const bool zero = forward == 0;
      if ((key > query && !zero) || zero != (backward == 0) ||
          (!zero && (std::abs(forward - kept) > near || std::abs(backward - kept) > near)))
        FAIL("query " << query << ", key " << key << ": " << forward << " and " << backward);
      if (key > query) continue;
      dropped += zero;
      differ_between_heads += zero != (m.forward[(e + kTime * kTime) % kCount] == 0);
    }
    // Five standard deviations of a binomial count.
    const auto spread = [&](double share) { return 5 * std::sqrt(kPairs * share * (1 - share)); };
    CHECK(std::abs(dropped - kPairs * p) < spread(p));
    // Two heads differ where one of two independent elements is dropped. Each element is in two of
    // the pairs, which at most triples the variance.
    const double differ = 2 * p * (1 - p);
    CHECK(std::abs(differ_between_heads - kPairs * differ) < std::sqrt(3.) * spread(differ));
  }
}

TEST_CASE("the dropout of attention is decided by seed and stream alone", "[attention]") {
  const std::vector<double> mask = masks(1, 2, 70, {0.4, 7, 11}).forward;
  CHECK(masks(1, 2, 70, {0.4, 7, 11}).forward == mask);
  CHECK(masks(1, 2, 70, {0.4, 8, 11}).forward != mask);
  CHECK(masks(1, 2, 70, {0.4, 7, 12}).forward != mask);
}

TEST_CASE("attention refuses a dropout that is no probability", "[attention]") {
  const Tensor qkv = Tensor::zeros({1, 3, 12});
  for (double p : {-0.1, 1.0, std::nan("")})
    CHECK_THROWS_AS(causal_attention(qkv, {1, 1, 4}, {}, {p, 0, 0}), ConfigError);
}

TEST_CASE("attention refuses heads that cannot be, and a cache that is full", "[attention]") {
  const Tensor qkv = Tensor::zeros({1, 3, 40});
  CHECK_THROWS_AS(causal_attention(qkv, {4, 3, 4}), ShapeError);
  CHECK_THROWS_AS(causal_attention(qkv, {0, 1, 4}), ShapeError);
  CHECK_THROWS_AS(causal_attention(qkv, {4, 0, 4}), ShapeError);
  const AttentionShape s{6, 2, 4};
  CHECK_THROWS_AS(causal_attention(qkv, s, Tensor::zeros({2})), ShapeError);
  CHECK_THROWS_AS(causal_attention(qkv, s, Tensor::zeros({6}, DType::f64)), DtypeError);
  Tensor cache = Tensor::zeros({1, 4, 16});
  CHECK_THROWS_AS(cached_attention(qkv, s, cache, 2), ShapeError);
  CHECK_THROWS_AS(cached_attention(qkv, s, cache, -1), ShapeError);
  Tensor narrow = Tensor::zeros({1, 4, 15});
  CHECK_THROWS_AS(cached_attention(qkv, s, narrow, 0), ShapeError);
}

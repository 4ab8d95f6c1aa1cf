#include "tests/support/reference.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

namespace muonlab::test::reference {

namespace {

/// Salmon et al. 2011, section 3.3, written out: the two products of a round as 64-bit integers.
std::uint32_t philox_word(std::uint64_t block, std::uint64_t stream, std::uint64_t key, int word) {
  std::uint64_t x[4] = {block & 0xffffffff, block >> 32, stream & 0xffffffff, stream >> 32};
  std::uint64_t k0 = key & 0xffffffff, k1 = key >> 32;
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t left = 0xD2511F53 * x[0], right = 0xCD9E8D57 * x[2];
    const std::uint64_t y0 = (right >> 32) ^ x[1] ^ k0, y2 = (left >> 32) ^ x[3] ^ k1;
    x[1] = right & 0xffffffff;
    x[3] = left & 0xffffffff;
    x[0] = y0;
    x[2] = y2;
    k0 = (k0 + 0x9E3779B9) & 0xffffffff;  // the golden ratio and sqrt(3) - 1, times 2^32
    k1 = (k1 + 0xBB67AE85) & 0xffffffff;
  }
  return static_cast<std::uint32_t>(x[word]);
}

/// What element i of a tensor is multiplied with.
double dropout_factor(std::int64_t i, double p, std::uint64_t seed, std::uint64_t stream) {
  constexpr std::uint64_t kDropout = 3;  // RngPurpose::dropout, which is never renumbered
  const std::uint32_t word = philox_word(static_cast<std::uint64_t>(i / 4), stream,
                                         seed ^ (kDropout << 56), static_cast<int>(i % 4));
  return word < p * 4294967296.0 ? 0 : 1 / (1 - p);
}

}  // namespace

double activate(Activation kind, double x) {
  switch (kind) {
    case Activation::none:
      return x;
    case Activation::gelu:
      return 0.5 * x * std::erfc(-x / std::numbers::sqrt2);
    case Activation::gelu_tanh:
      return 0.5 * x *
             (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
    case Activation::relu:
      return x > 0 ? x : 0;
    case Activation::relu_squared:
      return x > 0 ? x * x : 0;
    case Activation::silu:
      return x / (1 + std::exp(-x));
  }
  return std::numeric_limits<double>::quiet_NaN();
}

Array activation(Activation kind, const Array& x) {
  Array y = x;
  for (double& v : y.values) v = activate(kind, v);
  return y;
}

Array gemm(const Array& a, bool trans_a, const Array& b, bool trans_b, double alpha, double beta,
           const Array& c) {
  const std::int64_t m = c.shape[0], n = c.shape[1], k = trans_a ? a.shape[0] : a.shape[1];
  Array d(c.shape);
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t j = 0; j < n; ++j) {
      double sum = 0;
      for (std::int64_t l = 0; l < k; ++l)
        sum += a[trans_a ? l * m + i : i * k + l] * b[trans_b ? j * k + l : l * n + j];
      d[i * n + j] = alpha * sum + (beta == 0 ? 0 : beta * c[i * n + j]);
    }
  }
  return d;
}

Array linear(const Array& x, const Array& w, const Array* bias, Activation kind) {
  const std::int64_t rows = x.shape.rows(), in = w.shape[1], out = w.shape[0];
  Array y(x.shape.with_last(out));
  for (std::int64_t n = 0; n < rows; ++n) {
    for (std::int64_t m = 0; m < out; ++m) {
      double sum = bias ? (*bias)[m] : 0;
      for (std::int64_t k = 0; k < in; ++k) sum += activate(kind, x[n * in + k]) * w[m * in + k];
      y[n * out + m] = sum;
    }
  }
  return y;
}

Array layer_norm(const Array& x, const Array& w, const Array* b, double eps) {
  const std::int64_t rows = x.shape.rows(), c = x.shape[-1];
  Array y(x.shape);
  for (std::int64_t n = 0; n < rows; ++n) {
    double mean = 0, var = 0;
    for (std::int64_t i = 0; i < c; ++i) mean += x[n * c + i] / static_cast<double>(c);
    for (std::int64_t i = 0; i < c; ++i)
      var += (x[n * c + i] - mean) * (x[n * c + i] - mean) / static_cast<double>(c);
    for (std::int64_t i = 0; i < c; ++i)
      y[n * c + i] = (x[n * c + i] - mean) / std::sqrt(var + eps) * w[i] + (b ? (*b)[i] : 0);
  }
  return y;
}

Array rms_norm(const Array& x, const Array& w, double eps) {
  const std::int64_t rows = x.shape.rows(), c = x.shape[-1];
  Array y(x.shape);
  for (std::int64_t n = 0; n < rows; ++n) {
    double square = 0;
    for (std::int64_t i = 0; i < c; ++i)
      square += x[n * c + i] * x[n * c + i] / static_cast<double>(c);
    for (std::int64_t i = 0; i < c; ++i)
      y[n * c + i] = x[n * c + i] / std::sqrt(square + eps) * w[i];
  }
  return y;
}

Array embedding(const Array& ids, const Array& wte, const Array* wpe, std::int64_t position) {
  const std::int64_t batch = ids.shape[0], time = ids.shape[1], c = wte.shape[1];
  Array y(Shape{batch, time, c});
  for (std::int64_t b = 0; b < batch; ++b) {
    for (std::int64_t t = 0; t < time; ++t) {
      const auto id = static_cast<std::int64_t>(ids[b * time + t]);
      for (std::int64_t i = 0; i < c; ++i)
        y[(b * time + t) * c + i] = wte[id * c + i] + (wpe ? (*wpe)[(position + t) * c + i] : 0);
    }
  }
  return y;
}

Array columns(const Array& x, std::int64_t begin, std::int64_t end) {
  const std::int64_t rows = x.shape.rows(), c = x.shape[-1];
  Array y(x.shape.with_last(end - begin));
  for (std::int64_t n = 0; n < rows; ++n)
    for (std::int64_t i = begin; i < end; ++i) y[n * (end - begin) + i - begin] = x[n * c + i];
  return y;
}

Attention causal_attention(const Array& q, const Array& k, const Array& v, std::int64_t heads,
                           std::int64_t kv_heads, double scale, const AttentionDropout& drop) {
  const std::int64_t batch = q.shape[0], tq = q.shape[1], tk = k.shape[1], d = q.shape[2] / heads;
  const std::int64_t group_size = heads / kv_heads;
  Attention out{Array(q.shape), Array(Shape{batch, heads, tq}),
                std::vector<double>(static_cast<std::size_t>(heads),
                                    -std::numeric_limits<double>::infinity())};
  for (std::int64_t b = 0; b < batch; ++b) {
    for (std::int64_t h = 0; h < heads; ++h) {
      const std::int64_t g = h / group_size;
      for (std::int64_t i = 0; i < tq; ++i) {
        const std::int64_t keys = i + tk - tq + 1;
        std::vector<double> p(static_cast<std::size_t>(keys));
        for (std::int64_t j = 0; j < keys; ++j) {
          double dot = 0;
          for (std::int64_t e = 0; e < d; ++e)
            dot += q[(b * tq + i) * heads * d + h * d + e] *
                   k[(b * tk + j) * kv_heads * d + g * d + e];
          p[static_cast<std::size_t>(j)] = scale * dot;
        }
        const double top = *std::max_element(p.begin(), p.end());
        double& seen = out.max_logit[static_cast<std::size_t>(h)];
        seen = std::max(seen, top);
        double sum = 0;
        for (double& s : p) sum += s = std::exp(s - top);
        out.lse[(b * heads + h) * tq + i] = top + std::log(sum);
        for (std::int64_t j = 0; j < keys; ++j) {
          const double factor =
              dropout_factor(((b * heads + h) * tq + i) * tk + j, drop.p, drop.seed, drop.stream);
          for (std::int64_t e = 0; e < d; ++e)
            out.y[(b * tq + i) * heads * d + h * d + e] +=
                factor * p[static_cast<std::size_t>(j)] / sum *
                v[(b * tk + j) * kv_heads * d + g * d + e];
        }
      }
    }
  }
  return out;
}

Array cross_entropy_rows(const Array& logits, const Array& targets) {
  const std::int64_t rows = logits.shape.rows(), vocab = logits.shape[-1];
  Array losses(Shape{rows});
  for (std::int64_t n = 0; n < rows; ++n) {
    const auto first = logits.values.begin() + n * vocab;
    const double top = *std::max_element(first, first + vocab);
    double sum = 0;
    for (std::int64_t j = 0; j < vocab; ++j) sum += std::exp(logits[n * vocab + j] - top);
    losses[n] = top + std::log(sum) - logits[n * vocab + static_cast<std::int64_t>(targets[n])];
  }
  return losses;
}

Array cross_entropy(const Array& logits, const Array& targets) {
  const Array losses = cross_entropy_rows(logits, targets);
  Array mean(Shape{});
  for (double x : losses.values) mean[0] += x / static_cast<double>(losses.numel());
  return mean;
}

Array dropout(const Array& x, double p, std::uint64_t seed, std::uint64_t stream) {
  Array y = x;
  for (std::int64_t i = 0; i < x.numel(); ++i) y[i] *= dropout_factor(i, p, seed, stream);
  return y;
}

Array add(const Array& a, const Array& b) {
  Array y = a;
  for (std::int64_t i = 0; i < y.numel(); ++i) y[i] += b[i];
  return y;
}

Array mul(const Array& a, const Array& b) {
  Array y = a;
  for (std::int64_t i = 0; i < y.numel(); ++i) y[i] *= b[i];
  return y;
}

Array scale(const Array& x, double factor) {
  Array y = x;
  for (double& v : y.values) v *= factor;
  return y;
}

}  // namespace muonlab::test::reference

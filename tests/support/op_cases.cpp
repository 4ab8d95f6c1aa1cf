#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "core/ops/attention.h"
#include "core/ops/cross_entropy.h"
#include "core/ops/elementwise.h"
#include "core/ops/embedding.h"
#include "core/ops/linear.h"
#include "core/ops/norm.h"
#include "tests/support/op_case.h"
#include "tests/support/reference.h"

// The list of primitives. Each op has a function that makes one case; the variants below it are
// chosen where implementations differ: size one, sizes that are no multiple of a vector or of a
// tile, several tiles or chunks, an option on and off.
namespace muonlab::test {
namespace {

using Vars = std::vector<Var>;
using Arrays = std::vector<Array>;

const std::pair<Activation, const char*> kActivations[] = {
    {Activation::gelu, "gelu"},
    {Activation::gelu_tanh, "gelu_tanh"},
    {Activation::relu, "relu"},
    {Activation::relu_squared, "relu_squared"},
    {Activation::silu, "silu"}};

OpCase linear_case(std::string variant, Shape x, std::int64_t out, bool bias,
                   Activation act = Activation::none) {
  const std::int64_t in = x[-1];
  OpCase c;
  c.op = "linear";
  c.variant = std::move(variant);
  // Outputs of deviation about 1.
  c.inputs = {{.name = "x", .shape = x},
              {.name = "w",
               .shape = Shape{out, in},
               .deviation = 1 / std::sqrt(static_cast<double>(in)),
               .parameter = true}};
  c.bad = {{0, x.with_last(in + 1)}, {1, Shape{out, in + 1}}, {1, Shape{out * in}}};
  if (bias) {
    c.inputs.push_back({.name = "b", .shape = Shape{out}, .deviation = 0.5, .parameter = true});
    c.bad.push_back({2, Shape{out + 1}});
    c.bad.push_back({2, Shape{1, out}});
  }
  c.apply = [=](const Vars& v) { return linear(v[0], v[1], bias ? v[2] : Var(), act); };
  c.reference = [=](const Arrays& a) {
    return reference::linear(a[0], a[1], bias ? &a[2] : nullptr, act);
  };
  c.terms = std::max({in + 1, out, x.rows()});
  // w; act(x) and the gradient of it; the product before the bias.
  const int activated = act == Activation::none ? 0 : 1;
  c.roundings = {.output = 1 + activated + (bias ? 1 : 0),
                 .gradients = 1 + activated,
                 .parameters = activated};
  return c;
}

void add_linear(std::vector<OpCase>& cases) {
  cases.push_back(linear_case("no bias", {2, 5, 7}, 3, false));
  cases.push_back(linear_case("bias", {2, 5, 7}, 3, true));
  cases.push_back(linear_case("one of everything", {1, 1}, 1, true));
  cases.push_back(linear_case("one row", {1, 70}, 131, true));
  cases.push_back(linear_case("one output", {9, 33}, 1, true));
  cases.push_back(linear_case("four dimensions", {2, 1, 3, 5}, 4, false));
  cases.push_back(linear_case("several tiles", {301, 129}, 203, true));
  cases.push_back(linear_case("a long sum", {6, 1500}, 5, false));
  for (const auto& [act, name] : kActivations) {
    cases.push_back(linear_case(std::string(name) + ", bias", {3, 5, 17}, 37, true, act));
    cases.push_back(linear_case(std::string(name) + ", no bias", {13, 6}, 9, false, act));
  }
  cases.push_back(linear_case("gelu, several tiles", {257, 65}, 130, true, Activation::gelu));
  cases.push_back(linear_case("gelu, one row", {1, 33}, 70, true, Activation::gelu));

  // A temporary input, which the op may overwrite in its backward pass; alone, and where another
  // consumer has left a gradient to add to.
  OpCase temporary = linear_case("gelu, temporary input", {4, 6}, 5, true, Activation::gelu);
  temporary.apply = [](const Vars& v) {
    return linear(scale(v[0], 1), v[1], v[2], Activation::gelu);
  };
  cases.push_back(temporary);
  temporary.variant = "gelu, temporary input with a second use";
  temporary.inputs.push_back({.name = "second w", .shape = Shape{5, 6}, .parameter = true});
  temporary.apply = [](const Vars& v) {
    const Var x = scale(v[0], 1);
    const Var first = linear(x, v[1], v[2], Activation::gelu);
    return add(first, linear(x, v[3]));
  };
  temporary.reference = [](const Arrays& a) {
    return reference::add(reference::linear(a[0], a[1], &a[2], Activation::gelu),
                          reference::linear(a[0], a[3], nullptr, Activation::none));
  };
  temporary.roundings.output += 3;     // the second w, and both outputs before they are added
  temporary.roundings.gradients += 2;  // the second w, and one gradient before the other is added
  cases.push_back(std::move(temporary));

  // The gradient of the output is also that of an input that is differentiated later, so the op
  // must not overwrite it.
  OpCase shared = linear_case("gelu, output gradient shared", {4, 6}, 5, true, Activation::gelu);
  shared.inputs.push_back({.name = "other", .shape = Shape{4, 5}});
  const auto apply = shared.apply;
  shared.apply = [apply](const Vars& v) {
    const Var other = scale(v[3], 1);
    return add(apply({v[0], v[1], v[2]}), other);
  };
  const auto expected = shared.reference;
  shared.reference = [expected](const Arrays& a) {
    return reference::add(expected({a[0], a[1], a[2]}), a[3]);
  };
  shared.roundings.output += 1;
  cases.push_back(std::move(shared));
}

OpCase norm_case(bool centered, std::string variant, Shape x, bool bias, double deviation = 1,
                 double mean = 0.25) {
  const std::int64_t c = x[-1];
  constexpr double kEps = 1e-5;
  OpCase n;
  n.op = centered ? "layer_norm" : "rms_norm";
  n.variant = std::move(variant);
  n.inputs = {{.name = "x", .shape = x, .deviation = deviation, .mean = mean},
              {.name = "w", .shape = Shape{c}, .deviation = 0.5, .mean = 1, .parameter = true}};
  n.bad = {{1, Shape{c + 1}}, {1, Shape{1, c}}, {0, x.with_last(c + 1)}};
  if (bias) {
    n.inputs.push_back({.name = "b", .shape = Shape{c}, .parameter = true});
    n.bad.push_back({2, Shape{c + 1}});
  }
  n.apply = [=](const Vars& v) {
    return centered ? layer_norm(v[0], v[1], bias ? v[2] : Var(), kEps)
                    : rms_norm(v[0], v[1], kEps);
  };
  n.reference = [=](const Arrays& a) {
    return centered ? reference::layer_norm(a[0], a[1], bias ? &a[2] : nullptr, kEps)
                    : reference::rms_norm(a[0], a[1], kEps);
  };
  n.terms = std::max(c, x.rows());
  return n;
}

void add_norms(std::vector<OpCase>& cases) {
  for (bool centered : {true, false}) {
    cases.push_back(norm_case(centered, "three dimensions", {2, 3, 16}, false));
    cases.push_back(norm_case(centered, "odd sizes", {5, 37}, false));
    cases.push_back(norm_case(centered, "one row", {1, 130}, false));
    cases.push_back(norm_case(centered, "a vector", {19}, false));
    cases.push_back(norm_case(centered, "several chunks of rows", {701, 48}, false));
    // The mean square is about eps, so that a wrong eps, or one in the wrong place, is plain.
    cases.push_back(norm_case(centered, "eps counts", {6, 40}, false, 3e-3, 0));
  }
  cases.push_back(norm_case(true, "bias", {2, 3, 16}, true));
  cases.push_back(norm_case(true, "bias, odd sizes", {11, 3}, true));
  cases.push_back(norm_case(true, "bias, several chunks of rows", {701, 48}, true));
  // A variance as mean(x^2) - mean(x)^2 would lose a factor of 900 in precision here.
  cases.push_back(norm_case(true, "a mean far from zero", {9, 64}, false, 1, 30));
}

OpCase embedding_case(std::string variant, Shape ids, std::int64_t vocab, std::int64_t width,
                      std::int64_t positions, std::int64_t position = 0) {
  OpCase c;
  c.op = "embedding";
  c.variant = std::move(variant);
  c.inputs = {{.name = "ids", .shape = ids, .vocab = vocab},
              {.name = "wte", .shape = Shape{vocab, width}, .parameter = true}};
  c.bad = {{0, Shape{ids.numel()}}, {1, Shape{vocab * width}}};
  const bool with_wpe = positions > 0;
  if (with_wpe) {
    c.inputs.push_back({.name = "wpe", .shape = Shape{positions, width}, .parameter = true});
    c.bad.push_back({2, Shape{positions, width + 1}});
    c.bad.push_back({2, Shape{position + ids[1] - 1, width}});
    c.bad.push_back({2, Shape{positions * width}});
  }
  c.apply = [=](const Vars& v) {
    return embedding(v[0].value(), v[1], with_wpe ? v[2] : Var(), position);
  };
  c.reference = [=](const Arrays& a) {
    return reference::embedding(a[0], a[1], with_wpe ? &a[2] : nullptr, position);
  };
  c.terms = ids.numel() + 1;
  return c;
}

void add_embedding(std::vector<OpCase>& cases) {
  cases.push_back(embedding_case("tokens and positions", {2, 5}, 11, 8, 5));
  cases.push_back(embedding_case("more positions than time", {3, 4}, 7, 5, 9));
  cases.push_back(embedding_case("a later position", {2, 4}, 7, 5, 9, 3));
  cases.push_back(embedding_case("tokens alone", {2, 5}, 11, 8, 0));
  cases.push_back(embedding_case("one token", {1, 1}, 1, 1, 1));
  cases.push_back(embedding_case("few tokens, often", {3, 41}, 2, 3, 41));
  cases.push_back(embedding_case("several chunks", {4, 97}, 65, 133, 100));
}

OpCase attention_case(std::string variant, std::int64_t batch, std::int64_t time, AttentionShape s,
                      double deviation = 1, AttentionDropout dropout = {}) {
  OpCase c;
  c.op = "causal_attention";
  c.variant = std::move(variant);
  const Shape x{batch, time, s.packed()};
  c.inputs = {{.name = "qkv", .shape = x, .deviation = deviation}};
  c.bad = {{0, x.with_last(s.packed() + 1)}, {0, Shape{batch * time, s.packed()}}};
  c.apply = [=](const Vars& v) { return causal_attention(v[0], s, {}, dropout); };
  c.reference = [=](const Arrays& a) {
    const std::int64_t q = s.heads * s.head_size, kv = s.kv_heads * s.head_size;
    return reference::causal_attention(
               reference::columns(a[0], 0, q), reference::columns(a[0], q, q + kv),
               reference::columns(a[0], q + kv, q + 2 * kv), s.heads, s.kv_heads,
               1 / std::sqrt(static_cast<double>(s.head_size)), dropout)
        .y;
  };
  c.terms = std::max(time * s.heads / s.kv_heads, s.head_size);
  return c;
}

void add_attention(std::vector<OpCase>& cases) {
  cases.push_back(attention_case("one head", 2, 5, {1, 1, 8}));
  cases.push_back(attention_case("four heads", 2, 9, {4, 4, 6}));
  cases.push_back(attention_case("four heads in two groups", 2, 9, {4, 2, 6}));
  cases.push_back(attention_case("six heads in two groups", 3, 20, {6, 2, 5}));
  cases.push_back(attention_case("all heads in one group", 2, 11, {3, 1, 4}));
  cases.push_back(attention_case("one position", 3, 1, {2, 1, 4}));
  cases.push_back(attention_case("two positions", 1, 2, {1, 1, 4}));
  cases.push_back(attention_case("heads of size one", 2, 7, {3, 3, 1}));
  for (std::int64_t time : {63, 64, 65, 130})
    cases.push_back(attention_case(std::to_string(time) + " positions", 1, time, {2, 1, 16}));
  cases.push_back(attention_case("several tiles and batches", 3, 150, {4, 2, 32}));
  cases.push_back(attention_case("sharp", 1, 70, {2, 2, 8}, 2));
  const auto drop = [](double p) { return AttentionDropout{p, 0x123456789abcdef, 0xfedcba98765}; };
  cases.push_back(attention_case("dropout", 2, 9, {4, 4, 6}, 1, drop(0.3)));
  cases.push_back(attention_case("dropout, 130 positions", 2, 130, {4, 2, 16}, 1, drop(0.3)));
  cases.push_back(attention_case("dropout, 128 positions", 1, 128, {1, 1, 16}, 1, drop(0.3)));
  cases.push_back(attention_case("nearly all dropped", 2, 67, {3, 1, 4}, 1, drop(0.9)));
}

OpCase cross_entropy_case(std::string variant, Shape logits, double deviation = 1,
                          bool temporary = false) {
  const std::int64_t vocab = logits[-1];
  const Shape targets = logits.rank() == 3 ? Shape{logits[0], logits[1]} : Shape{logits[0]};
  OpCase c;
  c.op = "softmax_cross_entropy";
  c.variant = std::move(variant);
  c.inputs = {{.name = "logits", .shape = logits, .deviation = deviation},
              {.name = "targets", .shape = targets, .vocab = vocab}};
  c.bad = {{0, logits.with_first(logits[0] + 1)},
           {0, Shape{logits.numel()}},
           {0, Shape{}},
           {1, targets.with_last(targets[-1] + 1)},
           {1, Shape{targets.numel(), 1}}};
  // As a temporary the logits make room for their gradient; as a leaf they are kept.
  c.apply = [=](const Vars& v) {
    return softmax_cross_entropy(temporary ? scale(v[0], 1) : v[0], v[1].value());
  };
  c.reference = [](const Arrays& a) { return reference::cross_entropy(a[0], a[1]); };
  c.terms = std::max(logits.rows(), vocab);
  return c;
}

void add_cross_entropy(std::vector<OpCase>& cases) {
  cases.push_back(cross_entropy_case("small", {7, 5}));
  cases.push_back(cross_entropy_case("three dimensions", {3, 4, 9}));
  cases.push_back(cross_entropy_case("temporary logits", {7, 5}, 1, true));
  cases.push_back(cross_entropy_case("one row", {1, 33}));
  cases.push_back(cross_entropy_case("two classes", {10, 2}));
  cases.push_back(cross_entropy_case("several chunks", {67, 1003}));
  cases.push_back(cross_entropy_case("several chunks, temporary logits", {67, 1003}, 1, true));
  cases.push_back(cross_entropy_case("many rows", {300, 65}));
  cases.push_back(cross_entropy_case("confident", {20, 40}, 8));
}

void add_elementwise(std::vector<OpCase>& cases) {
  const std::pair<const char*, Shape> sizes[] = {
      {"small", {3, 5}}, {"one element", {1}}, {"several chunks", {2, 103, 97}}};
  for (const auto& [variant, shape] : sizes) {
    const Shape other = shape.with_last(shape[-1] + 1);
    cases.push_back({.op = "add",
                     .variant = variant,
                     .inputs = {{.name = "a", .shape = shape}, {.name = "b", .shape = shape}},
                     .apply = [](const Vars& v) { return add(v[0], v[1]); },
                     .reference = [](const Arrays& a) { return reference::add(a[0], a[1]); },
                     .terms = 2,
                     .bad = {{0, other}, {1, other}}});
    cases.push_back({.op = "mul",
                     .variant = variant,
                     .inputs = {{.name = "a", .shape = shape}, {.name = "b", .shape = shape}},
                     .apply = [](const Vars& v) { return mul(v[0], v[1]); },
                     .reference = [](const Arrays& a) { return reference::mul(a[0], a[1]); },
                     .terms = 2,
                     .bad = {{0, other}, {1, other}}});
    cases.push_back({.op = "scale",
                     .variant = variant,
                     .inputs = {{.name = "x", .shape = shape}},
                     .apply = [](const Vars& v) { return scale(v[0], -0.375); },
                     .reference = [](const Arrays& a) { return reference::scale(a[0], -0.375); },
                     .terms = 2,
                     .bad = {}});
    cases.push_back(
        {.op = "dropout",
         .variant = variant,
         .inputs = {{.name = "x", .shape = shape}},
         .apply =
             [](const Vars& v) { return dropout(v[0], 0.3, 0x123456789abcdef, 0xfedcba98765); },
         .reference =
             [](const Arrays& a) {
               return reference::dropout(a[0], 0.3, 0x123456789abcdef, 0xfedcba98765);
             },
         .terms = 2,
         .bad = {}});
    for (const auto& [act, name] : kActivations) {
      const Activation kind = act;
      cases.push_back(
          {.op = "activation",
           .variant = std::string(name) + ", " + variant,
           .inputs = {{.name = "x", .shape = shape, .deviation = 2}},
           .apply = [kind](const Vars& v) { return activate(v[0], kind); },
           .reference = [kind](const Arrays& a) { return reference::activation(kind, a[0]); },
           .terms = 2,
           .bad = {}});
    }
  }
}

}  // namespace

const std::vector<OpCase>& op_cases() {
  static const std::vector<OpCase> cases = [] {
    std::vector<OpCase> all;
    add_linear(all);
    add_norms(all);
    add_embedding(all);
    add_attention(all);
    add_cross_entropy(all);
    add_elementwise(all);
    return all;
  }();
  return cases;
}

}  // namespace muonlab::test

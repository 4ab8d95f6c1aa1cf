// --precision bf16: products of numbers rounded to bf16, sums in f32, activations in bf16. kU is
// the unit roundoff of bf16, half of the distance 2^-7 from 1 to the next number: rounding moves a
// number by at most kU of itself.
#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "core/backend.h"
#include "core/error.h"
#include "core/math.h"
#include "core/ops/attention.h"
#include "optim/steps/orthogonalize.h"
#include "tests/cuda/gpu.h"
#include "tests/support/array.h"
#include "tests/support/close.h"
#include "tests/support/op_case.h"
#include "tests/support/reference.h"

using namespace muonlab;
using namespace muonlab::test;

namespace {

constexpr DType kF32 = DType::f32;
constexpr double kU = 0x1p-8;
const Quintic kJordan = coefficients("jordan", 1).front();

Array plus(Array x, double factor, const Array& y) {
  for (std::int64_t i = 0; i < x.numel(); ++i) x[i] += factor * y[i];
  return x;
}
double norm(const Array& x) { return rms(x) * std::sqrt(static_cast<double>(x.numel())); }
/// Of matrices, by Frobenius norms.
double distance(const Array& got, const Array& want) {
  return norm(plus(got, -1, want)) / norm(want);
}

Array transposed(const Array& x) {
  Array t(Shape{x.shape[1], x.shape[0]});
  for (std::int64_t i = 0; i < x.numel(); ++i)
    t[i % x.shape[1] * x.shape[0] + i / x.shape[1]] = x[i];
  return t;
}

/// Newton-Schulz in f64, on the smaller side. What goes into a product is rounded first, if asked
/// for.
Array newton_schulz_in_f64(const Array& g, int steps, bool round) {
  const auto product = [&](const Array& a, const Array& b, bool trans_b) {
    const Array zero(Shape{a.shape[0], b.shape[trans_b ? 0 : 1]});
    return round
               ? reference::gemm(rounded_to_bf16(a), false, rounded_to_bf16(b), trans_b, 1, 0, zero)
               : reference::gemm(a, false, b, trans_b, 1, 0, zero);
  };
  const bool tall = g.shape[0] > g.shape[1];
  Array x = reference::scale(tall ? transposed(g) : g, 1 / norm(g));
  for (int step = 0; step < steps; ++step) {
    const Array a = product(x, x, true);
    const Array b = plus(reference::scale(a, kJordan.b), kJordan.c, product(a, a, false));
    x = plus(product(b, x, false), kJordan.a, x);
  }
  return tall ? transposed(x) : x;
}

/// The same on the GPU, for several matrices at once.
std::vector<Array> newton_schulz_on_gpu(const std::vector<Array>& given, int steps) {
  std::vector<Tensor> matrices;
  for (const Array& g : given) matrices.push_back(g.tensor(kF32, kGpu));
  orthogonalize(matrices, {.coefficients = "jordan", .steps = steps},
                std::vector<double>(given.size(), 1));
  return {matrices.begin(), matrices.end()};
}

}  // namespace

TEST_CASE("products in bf16 are those of rounded factors, with sums in f32", "[cuda][bf16]") {
  MUONLAB_NEEDS_GPU();
  const InBf16 bf16;
  for (const std::int64_t batch : {1, 3})
    for (int flags = 0; flags < 4; ++flags) {
      const bool trans_a = flags & 1, trans_b = flags & 2;
      const std::int64_t m = 13, n = 9, k = 300;
      const auto values = [&](std::int64_t rows, std::int64_t columns, const std::string& name) {
        std::vector<Array> list;
        for (std::int64_t i = 0; i < batch; ++i)
          list.push_back(normal_array(Shape{rows, columns}, name + std::to_string(i)));
        return list;
      };
      const std::vector<Array> a = trans_a ? values(k, m, "a") : values(m, k, "a");
      const std::vector<Array> b = trans_b ? values(n, k, "b") : values(k, n, "b");
      const std::vector<Array> c = values(m, n, "c");
      const auto tensor = [&](const std::vector<Array>& list) {
        Array all(Shape{batch, list[0].shape[0], list[0].shape[1]});
        auto to = all.values.begin();
        for (const Array& one : list) to = std::copy(one.values.begin(), one.values.end(), to);
        return all.tensor(kF32, kGpu);
      };
      Tensor got = tensor(c);
      math::gemm(got, tensor(a), trans_a ? math::Op::transposed : math::Op::plain, tensor(b),
                 trans_b ? math::Op::transposed : math::Op::plain, -0.75, 0.5);
      for (std::int64_t i = 0; i < batch; ++i) {
        const auto at = static_cast<std::size_t>(i);
        INFO("matrix " << i << " of " << batch << ", flags " << flags);
        const Array one(got.slice(i, i + 1).reshape({m, n}));
        // Products of two numbers of eight bits are exact in f32, so that only sums round. Had
        // they been made in bf16, the error would be some kU sqrt(k) = 0.03.
        const Array rounded = reference::gemm(rounded_to_bf16(a[at]), trans_a,
                                              rounded_to_bf16(b[at]), trans_b, -0.75, 0.5, c[at]);
        CHECK(relative_error(one, rounded) <= tolerance(kF32, k + 1));
        // Each factor is off by up to kU of itself, in the root of the mean square by kU / sqrt(3)
        // at the lower end of a binade and half of that at its upper end; the terms by sqrt(2)
        // times that, and their sums likewise.
        const Array exact = reference::gemm(a[at], trans_a, b[at], trans_b, -0.75, 0.5, c[at]);
        CHECK(distance(one, exact) == Approx(kU * std::sqrt(2.0 / 3)).epsilon(0.5));
      }
    }
}

TEST_CASE("products of matrices in bf16 round their results once", "[cuda][bf16]") {
  MUONLAB_NEEDS_GPU();
  const std::int64_t m = 23, n = 31, k = 64;
  const Array a = rounded_to_bf16(normal_array(Shape{m, k}, "a"));
  const Array b = rounded_to_bf16(normal_array(Shape{n, k}, "b"));
  const Array want = reference::gemm(a, false, b, true, 1, 0, Array(Shape{m, n}));
  const auto product = [&](DType type_a, DType type_b, DType type_c) {
    Tensor c = Tensor::empty({m, n}, type_c, kGpu);
    backend_of(kGpu).gemm(
        {.a = a.tensor(type_a, kGpu), .b = b.tensor(type_b, kGpu), .c = c, .trans_b = true});
    return Array(c);
  };
  const DType bf16 = DType::bf16;
  for (const auto& [type_a, type_b] : {std::pair{bf16, bf16}, {bf16, kF32}, {kF32, bf16}}) {
    INFO(name_of(type_a) << " and " << name_of(type_b));
    CHECK(relative_error(product(type_a, type_b, kF32), want) <= tolerance(kF32, k));
    // Of parts that cancel no rounding may be left in the sum: each result is off by kU of itself,
    // but for the rounding of the sum in f32.
    const Array got = product(type_a, type_b, bf16);
    double excess = 0;
    for (std::int64_t i = 0; i < want.numel(); ++i)
      excess = std::max(excess, std::abs(got[i] - want[i]) - kU * std::abs(want[i]));
    CHECK(excess <= tolerance(kF32, k) * rms(want));
    CHECK(relative_error(got, want) > kU / 2);
  }
}

TEST_CASE("one step of Newton-Schulz in bf16 stays within the bound of its roundings",
          "[cuda][bf16]") {
  MUONLAB_NEEDS_GPU();
  const InBf16 bf16;
  for (const Shape& shape : {Shape{24, 40}, Shape{40, 24}, Shape{32, 32}}) {
    const Array g = normal_array(shape, "g " + shape.str());
    const Array got = newton_schulz_on_gpu({g}, 1)[0], want = newton_schulz_in_f64(g, 1, false);
    // X has Frobenius norm 1 and spectral norm s, A = X X^T at most s and s^2, and B = b A + c A^2
    // at most |b| s + c s^3 and |b| s^2 + c s^4. Rounding moves a matrix by at most kU of its
    // Frobenius norm, and a product by that times the spectral norm of the other factor. So
    //   |dA| <= 2 kU s      |d(A^2)| <= 2 s^2 (|dA| + kU s)
    //   |dB| <= |b| |dA| + c |d(A^2)|
    //   |d(B X)| <= s |dB| + kU s (|b| s + c s^3) + kU (|b| s^2 + c s^4)
    // s is bounded from above by the powers of A: s^16 <= trace A^8 = |A^4|^2.
    const Array x = reference::scale(g, 1 / norm(g));
    Array power = reference::gemm(x, false, x, true, 1, 0, Array(Shape{shape[0], shape[0]}));
    for (int i = 0; i < 2; ++i)
      power = reference::gemm(power, false, power, false, 1, 0, Array(power.shape));
    const double s = std::pow(norm(power), 1.0 / 8), b = std::abs(kJordan.b), c = kJordan.c;
    const double da = 2 * s, da2 = 2 * s * s * (da + s), db = b * da + c * da2;
    const double bound =
        kU * (s * db + s * (b * s + c * s * s * s) + (b * s * s + c * s * s * s * s)) / norm(want);
    const double error = distance(got, want);
    INFO(shape.str() << ": error " << error << ", bound " << bound);
    CHECK(error <= bound);
    // Roundings are random, and add up to some tenth of what they could; in f32 to 2^-16 of it.
    CHECK(error >= bound / 100);
  }
}

TEST_CASE("Newton-Schulz in bf16 errs as its rounded factors make it", "[cuda][bf16]") {
  MUONLAB_NEEDS_GPU();
  const InBf16 bf16;
  // Two of the same shape are one batch.
  std::vector<Array> given;
  for (const Shape& shape : {Shape{24, 40}, Shape{24, 40}, Shape{40, 24}})
    given.push_back(normal_array(shape, "g " + std::to_string(given.size())));
  const std::vector<Array> got = newton_schulz_on_gpu(given, 5);
  for (std::size_t i = 0; i < given.size(); ++i) {
    const Array exact = newton_schulz_in_f64(given[i], 5, false);
    const Array rounded = newton_schulz_in_f64(given[i], 5, true);
    const double error = distance(got[i], exact), expected = distance(rounded, exact);
    INFO(given[i].shape.str() << ": error " << error << ", expected " << expected);
    // Between two neighbours of bf16, f32 and f64 may fall to different sides: one element in some
    // thousand, whose error then grows with the others.
    CHECK(error <= 1.5 * expected);
    CHECK(error >= expected / 1.5);
  }
}

TEST_CASE("primitives in bf16 err as the roundings on the way make them", "[cuda][bf16][ops]") {
  MUONLAB_NEEDS_GPU();
  const InBf16 bf16;
  // A result that is kept in bf16 moves by at most kU of itself. A term of its sum that has been
  // rounded is off by at most kU, in the root of the mean square by kU / sqrt(3); of random signs,
  // r such roundings move the sum by sqrt(r) kU / sqrt(3) of its size, and the largest of 10^5 by
  // 4.5 of those: 2.6 sqrt(r) kU. A single term is off by at most r kU, which is less up to r = 6.
  const auto bound = [](const OpCase& op, DType type, int roundings) {
    return (type == DType::bf16 ? kU : 0) + 2.6 * std::sqrt(roundings) * kU +
           tolerance(kF32, op.terms);
  };
  for (const OpCase& op : op_cases()) {
    const OpError error = op_error(op, kGpu, DType::bf16);
    INFO(op.name());
    CHECK(error.output_type == (op.op == "softmax_cross_entropy" ? kF32 : DType::bf16));
    CHECK(error.output <= bound(op, error.output_type, op.roundings.output));
    if (op.op != "causal_attention")  // see the next test
      CHECK(error.gradients <= bound(op, DType::bf16, op.roundings.gradients));
    CHECK(error.parameters <= bound(op, kF32, op.roundings.parameters));
  }
}

TEST_CASE("attention in bf16 has the gradients that follow from its rounded output",
          "[cuda][bf16][attention]") {
  MUONLAB_NEEDS_GPU();
  const InBf16 bf16;
  // Backward subtracts delta = dy . y, with y as it was stored, from numbers that may nearly cancel
  // with it. Given the same y, the gradients are those of the f64 kernels but for their own
  // rounding.
  struct Case {
    std::int64_t batch, time;
    AttentionShape shape;
    double deviation, dropout;
  };
  for (const Case& c : {Case{2, 9, {4, 4, 6}, 1, 0},
                        {3, 1, {2, 1, 4}, 1, 0},
                        {3, 20, {6, 2, 5}, 1, 0},
                        {1, 65, {2, 1, 16}, 1, 0},
                        {1, 70, {2, 2, 8}, 2, 0},
                        {2, 70, {2, 1, 32}, 1, 0},
                        {1, 70, {2, 1, 64}, 1, 0},
                        {1, 70, {2, 1, 128}, 1, 0},
                        {1, 130, {4, 2, 16}, 1, 0.3},
                        {1, 67, {3, 1, 40}, 1, 0.9},
                        {1, 40, {2, 2, 30}, 1, 0.3},
                        {1, 40, {1, 1, 100}, 1, 0.3}}) {
    const AttentionShape& s = c.shape;
    const std::int64_t q = s.heads * s.head_size, kv = s.kv_heads * s.head_size;
    const Shape x_shape{c.batch, c.time, s.packed()}, y_shape{c.batch, c.time, q};
    const Array x = rounded_to_bf16(normal_array(x_shape, "x", 0, c.deviation));
    const Array dy = rounded_to_bf16(normal_array(y_shape, "attention weights"));
    const AttentionDropout drop{c.dropout, 5, 7};
    const Var leaf = Var::leaf(x.tensor(DType::bf16, kGpu));
    {
      Tape tape;
      Recording recording(tape);
      tape.backward(weighted_sum(causal_attention(leaf, s, {}, drop), "attention"));
    }
    const Tensor exact_x = x.tensor(DType::f64);
    AttentionArgs args{.q = exact_x, .k = exact_x, .v = exact_x};
    args.k_offset = q;
    args.v_offset = q + kv;
    args.heads = s.heads;
    args.kv_heads = s.kv_heads;
    args.head_size = s.head_size;
    args.keys = c.time;
    args.scale = 1 / std::sqrt(static_cast<double>(s.head_size));
    args.dropout = drop.p;
    args.dropout_seed = drop.seed;
    args.dropout_stream = drop.stream;
    args.y = Tensor::empty(y_shape, DType::f64);
    args.lse = Tensor::empty({c.batch, s.heads, c.time}, DType::f64);
    Backend& cpu = backend_of(Device{});
    cpu.attention(args);
    args.y = rounded_to_bf16(Array(args.y)).tensor(DType::f64);
    const Tensor dx = Tensor::empty(x_shape, DType::f64);
    cpu.attention_backward(
        {.forward = args, .dy = dy.tensor(DType::f64), .dq = dx, .dk = dx, .dv = dx});
    INFO("time " << c.time << ", head size " << s.head_size << ", dropout " << c.dropout);
    CHECK(leaf.grad().dtype() == DType::bf16);
    CHECK(relative_error(Array(leaf.grad()), Array(dx)) <=
          kU + tolerance(kF32, std::max(c.time * s.heads / s.kv_heads, s.head_size)));
  }
}

TEST_CASE("primitives in bf16 keep the rules of gradient slots", "[cuda][bf16][ops]") {
  MUONLAB_NEEDS_GPU();
  const InBf16 bf16;
  // The rules are the same for all sizes.
  const auto small = [](const OpCase& op) {
    std::int64_t elements = 0;
    for (const OpInput& in : op.inputs) elements += in.shape.numel();
    return elements <= 200;
  };
  for (const OpCase& op : op_cases()) {
    INFO(op.name());
    if (small(op)) check_contract(op, kGpu, DType::bf16);
  }
}

TEST_CASE("the CPU refuses bf16", "[cuda][bf16]") {
  CHECK_THROWS_AS(backend_of(Device{}).set_precision(Precision::bf16), ConfigError);
}

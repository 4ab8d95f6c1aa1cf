#include "core/backend.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/math.h"
#include "core/ops/attention.h"
#include "tests/cuda/gpu.h"
#include "tests/support/array.h"
#include "tests/support/close.h"
#include "tests/support/op_case.h"
#include "tests/support/reference.h"

using namespace muonlab;
using namespace muonlab::test;

// What the list of primitives does not reach: memory, the calls that optimizers make, and what
// callers may alias.

namespace {

constexpr DType kF32 = DType::f32;

Tensor gpu(const Array& a) { return a.tensor(kF32, kGpu); }
Tensor gpu(Shape shape, const std::string& name) { return gpu(normal_array(shape, name)); }

template <class F>
std::string message_of(const F& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}
bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("tensors go to the GPU and back, of any size and type", "[cuda][memory]") {
  MUONLAB_NEEDS_GPU();
  // One slot of the upload ring holds 1 MiB: less, more than one, more than all four.
  for (std::int64_t n : {1, 3, 300000, 1500000}) {
    std::vector<float> values(static_cast<std::size_t>(n));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
    const Tensor host = Tensor::from<float>({n}, values);
    const Tensor there = host.to(kGpu);
    values.assign(values.size(), -1);  // what was copied from may change at once
    CHECK(same_bits(there.to(Device{}), host));
    CHECK(same_bits(there.clone().to(Device{}), host));
    CHECK(same_bits(there.slice(n / 2, n).to(Device{}), host.slice(n / 2, n)));
  }
  const Tensor ids = random_ids(Shape{5, 7}, 1000, "ids");
  CHECK(same_bits(ids.to(kGpu).to(Device{}), ids));
  const Tensor none = Tensor::empty({0, 3}, kF32, kGpu);
  CHECK(none.to(Device{}).shape() == Shape{0, 3});
}

TEST_CASE("an upload does not overtake kernels that still read its destination", "[cuda][memory]") {
  MUONLAB_NEEDS_GPU();
  // The same block again and again: each product must see the values of its own round.
  Tensor x = Tensor::empty({64}, kF32, kGpu), y = Tensor::empty({20, 64}, kF32, kGpu);
  for (std::int64_t round = 0; round < 20; ++round) {
    const std::vector<float> values(64, static_cast<float>(round));
    x.copy_from(Tensor::from<float>({64}, values));
    Tensor row = y.slice(round, round + 1).reshape({64});
    math::axpby(row, 2, x, 0);
  }
  const Array got(y);
  for (std::int64_t i = 0; i < got.numel(); ++i) CHECK(got[i] == 2 * static_cast<double>(i / 64));
}

TEST_CASE("fill writes floats and ids", "[cuda][memory]") {
  MUONLAB_NEEDS_GPU();
  for (std::int64_t n : {1, 255, 257, 1000}) {
    Tensor x = Tensor::empty({n + 2}, kF32, kGpu);
    x.fill(1);
    x.slice(1, n + 1).fill(-2.5);
    std::vector<double> want(static_cast<std::size_t>(n + 2), -2.5);
    want.front() = want.back() = 1;
    CHECK(x.to_vector() == want);
    Tensor ids = Tensor::empty({n}, DType::i32, kGpu);
    ids.fill(7);
    CHECK(ids.to_vector() == std::vector<double>(static_cast<std::size_t>(n), 7));
  }
}

TEST_CASE("f64 is refused by name", "[cuda]") {
  MUONLAB_NEEDS_GPU();
  Tensor x = Tensor::empty({4}, DType::f64, kGpu);
  CHECK_THROWS_AS(math::sum(x), Unsupported);
  CHECK(contains(message_of([&] { x.fill(0); }), "f32 only; got a tensor of f64"));
}

TEST_CASE("out of memory says what was asked for and what was free, and goes by",
          "[cuda][memory]") {
  MUONLAB_NEEDS_GPU();
  const std::int64_t terabytes = std::int64_t{1} << 42;
  const std::string message = message_of([&] { Tensor::empty({terabytes}, kF32, kGpu); });
  INFO(message);
  CHECK(contains(message, "16.0 TiB were asked for ("));
  CHECK(contains(message, "GiB free);"));
  Tensor x = Tensor::empty({3}, kF32, kGpu);
  x.fill(2);
  CHECK(math::sum(x) == 6);
}

TEST_CASE("products on the GPU agree with the definition for all flags and sizes", "[cuda][gemm]") {
  MUONLAB_NEEDS_GPU();
  struct Sizes {
    std::int64_t batch, m, n, k;
  };
  Backend& backend = backend_of(kGpu);
  for (const Sizes& s :
       {Sizes{1, 1, 1, 1}, {1, 7, 5, 3}, {1, 17, 33, 65}, {3, 12, 20, 9}, {2, 5, 4, 0}}) {
    for (int flags = 0; flags < 4; ++flags) {
      const bool trans_a = flags & 1, trans_b = flags & 2;
      const auto shape = [&](std::int64_t rows, std::int64_t columns) {
        return s.batch == 1 ? Shape{rows, columns} : Shape{s.batch, rows, columns};
      };
      const Array a = normal_array(trans_a ? shape(s.k, s.m) : shape(s.m, s.k), "a");
      const Array b = normal_array(trans_b ? shape(s.n, s.k) : shape(s.k, s.n), "b");
      for (const double beta : {0.0, 1.0, 0.5}) {
        Array c = normal_array(shape(s.m, s.n), "c");
        const auto matrix = [&](const Array& x, std::int64_t z) {
          const std::int64_t size = x.numel() / s.batch;
          Array one(x.shape.rank() == 2 ? x.shape : Shape{x.shape[1], x.shape[2]});
          std::copy_n(x.values.begin() + z * size, size, one.values.begin());
          return one;
        };
        std::vector<double> want;
        for (std::int64_t z = 0; z < s.batch; ++z) {
          const Array product = reference::gemm(matrix(a, z), trans_a, matrix(b, z), trans_b, -0.75,
                                                beta, matrix(c, z));
          want.insert(want.end(), product.values.begin(), product.values.end());
        }
        Array expected(c.shape);
        expected.values = want;
        if (beta == 0) c.values.assign(c.values.size(), std::nan(""));  // must not be read
        Tensor got = gpu(c);
        backend.gemm({.a = gpu(a),
                      .b = gpu(b),
                      .c = got,
                      .trans_a = trans_a,
                      .trans_b = trans_b,
                      .alpha = -0.75,
                      .beta = beta});
        INFO("batch " << s.batch << " m " << s.m << " n " << s.n << " k " << s.k << " flags "
                      << flags << " beta " << beta);
        CHECK(relative_error(Array(got), expected) <= tolerance(kF32, s.k + 1));
      }
    }
  }
}

TEST_CASE("a symmetric product may be asked for", "[cuda][gemm]") {
  MUONLAB_NEEDS_GPU();
  const Array x = normal_array(Shape{19, 30}, "x");
  Tensor c = Tensor::empty({19, 19}, kF32, kGpu);
  math::gemm(c, gpu(x), math::Op::plain, gpu(x), math::Op::transposed, 1, 0, true);
  CHECK(relative_error(Array(c), reference::gemm(x, false, x, true, 1, 0, Array(Shape{19, 19}))) <=
        tolerance(kF32, 30));
}

TEST_CASE("products in TF32 round their factors to ten bits, if asked", "[cuda][gemm]") {
  MUONLAB_NEEDS_GPU();
  const Array x = normal_array(Shape{33, 40}, "x"), y = normal_array(Shape{40, 21}, "y");
  const Array want = reference::gemm(x, false, y, false, 1, 0, Array(Shape{33, 21}));
  const auto error = [&](Precision precision) {
    backend_of(kGpu).set_precision(precision);
    Tensor c = Tensor::empty({33, 21}, kF32, kGpu);
    math::gemm(c, gpu(x), math::Op::plain, gpu(y), math::Op::plain);
    backend_of(kGpu).set_precision(Precision::f32);
    return relative_error(Array(c), want);
  };
  CHECK(error(Precision::f32) <= tolerance(kF32, 40));
  // Each factor is off by up to 2^-11 of itself: terms by 2^-11 rms, their sum likewise, and the
  // largest of 700 sums by some four of those. Without rounding the error is a thousandth of it.
  CHECK(error(Precision::tf32) < 0x1p-8);
  CHECK(error(Precision::tf32) > 0x1p-13);
  CHECK_THROWS_AS(backend_of(Device{}).set_precision(Precision::tf32), ConfigError);
}

TEST_CASE("sums of many tensors in one pass", "[cuda][reduce]") {
  MUONLAB_NEEDS_GPU();
  // Less than a warp, several chunks and a rest, none, and more tensors than a block has threads.
  std::vector<Array> values;
  for (std::int64_t n : {1, 31, 0, 257, 40000, 0, 16384})
    values.push_back(normal_array(Shape{n}, "sum " + std::to_string(n)));
  for (int i = 0; i < 300; ++i)
    values.push_back(normal_array(Shape{i % 3}, "small " + std::to_string(i)));
  std::vector<Tensor> tensors;
  for (const Array& v : values) tensors.push_back(gpu(v));
  const std::vector<double> got = math::sum_squares(tensors);
  for (std::size_t i = 0; i < values.size(); ++i) {
    double squares = 0, sum = 0;
    for (double v : values[i].values) {
      squares += v * v;
      sum += v;
    }
    INFO("tensor " << i << " of " << values[i].numel());
    // Sums of 40000 terms in f64: rounding of 1e-13 at most.
    CHECK(got[i] == Approx(squares).epsilon(1e-12));
    if (i < 7) CHECK(math::sum(tensors[i]) == Approx(sum).epsilon(1e-12).margin(1e-9));
  }
  CHECK(math::sum_squares(std::vector<Tensor>{}).empty());
  Tensor bad = gpu(values[3]);
  bad.slice(200, 201).fill(std::nan(""));
  CHECK(std::isnan(math::sum_squares(bad)));
}

TEST_CASE("column sums add to what is there", "[cuda][reduce]") {
  MUONLAB_NEEDS_GPU();
  for (const Shape& shape :
       {Shape{1, 1}, Shape{5, 33}, Shape{129, 7}, Shape{300, 65}, Shape{0, 4}}) {
    const Array x = normal_array(shape, "x"), start = normal_array(Shape{shape[1]}, "start");
    for (double beta : {0.0, 1.0}) {
      Array want(start.shape);
      for (std::int64_t c = 0; c < shape[1]; ++c) {
        want[c] = beta * start[c];
        for (std::int64_t r = 0; r < shape[0]; ++r) want[c] += x[r * shape[1] + c];
      }
      Tensor dst = gpu(start);
      if (beta == 0) dst.fill(std::nan(""));
      backend_of(kGpu).column_sum({.src = gpu(x), .dst = dst, .beta = beta});
      INFO(shape.str() << " beta " << beta);
      CHECK(relative_error(Array(dst), want) <= tolerance(kF32, shape[0] + 1));
    }
  }
}

TEST_CASE("elementwise programs on the GPU do what they do on the CPU", "[cuda][elementwise]") {
  MUONLAB_NEEDS_GPU();
  // Every operation, with operands of every kind, and rows of every size: none, one, several
  // chunks, and more rows than a block has threads.
  ElementwiseBuilder f;
  const Lane a = f.column(0), b = f.column(1), s = f.scalar(0), t = f.scalar(1);
  const Lane root = sqrt(abs(a)), step = lerp(a, b, 0.25) / (root + 0.5);
  f.store(0, min(step, t) - s * b);
  f.store(1, max(a * b + root, -1.0) + sign(b));
  f.store(2, a - step * root);
  const ElementProgram program = f.program();
  std::vector<ElementRow> on_cpu, on_gpu;
  const auto add_row = [&](std::int64_t n, std::size_t i) {
    std::vector<Tensor> here, there;
    for (int k = 0; k < 3; ++k) {
      const Array v = normal_array(Shape{n}, "row " + std::to_string(i) + std::to_string(k));
      here.push_back(v.tensor(DType::f64));
      there.push_back(gpu(v));
    }
    const std::vector<double> scalars{0.5 + static_cast<double>(i), 0.75};
    on_cpu.push_back({here, scalars});
    on_gpu.push_back({there, scalars});
  };
  std::size_t rows = 0;
  for (std::int64_t n : {3, 0, 127, 129, 2048, 5000, 0}) add_row(n, rows++);
  for (; rows < 140; ++rows) add_row(1 + static_cast<std::int64_t>(rows % 2), rows);
  math::elementwise(program, on_cpu);
  math::elementwise(program, on_gpu);
  for (std::size_t i = 0; i < rows; ++i) {
    for (std::size_t k = 0; k < 3; ++k) {
      const Array got(on_gpu[i].columns[k]), want(on_cpu[i].columns[k]);
      // At most eight roundings in a row, of numbers up to the size of s b, the row's own.
      const double scale = std::max(1.0, on_cpu[i].scalars[0]);
      double worst = 0;
      for (std::int64_t e = 0; e < got.numel(); ++e)
        worst = std::max(worst, std::abs(got[e] - want[e]) / (scale + std::abs(want[e])));
      INFO("row " << i << " of " << got.numel() << ", column " << k);
      CHECK(worst < 8 * epsilon(kF32));
    }
  }
}

TEST_CASE("what is not a number goes through min, max and sign as on the CPU",
          "[cuda][elementwise]") {
  MUONLAB_NEEDS_GPU();
  const std::vector<float> values{NAN, 1, -INFINITY, -0.0f};
  const auto run = [&](Device device) {
    ElementwiseBuilder f;
    f.store(1, min(f.column(0), 2.0));
    f.store(2, min(Lane(2.0), f.column(0)));
    f.store(3, max(f.column(0), -3.0));
    f.store(4, sign(f.column(0)));
    ElementRow row;
    for (int k = 0; k < 5; ++k) row.columns.push_back(Tensor::from<float>({4}, values, device));
    math::elementwise(f.program(), {&row, 1});
    return row.columns;
  };
  const std::vector<Tensor> cpu = run(Device{}), got = run(kGpu);
  for (std::size_t k = 0; k < 5; ++k) CHECK(same_bits(got[k].to(Device{}), cpu[k]));
}

TEST_CASE("dropout masks are those of the CPU", "[cuda][dropout]") {
  MUONLAB_NEEDS_GPU();
  for (std::int64_t n : {1, 3, 1022, 5001}) {
    for (double p : {0.0, 0.1, 0.5, 0.999}) {
      const Array x = normal_array(Shape{n}, "x");
      const auto run = [&](Device device) {
        Tensor y = Tensor::empty({n}, kF32, device);
        backend_of(device).dropout({.x = x.tensor(kF32, device),
                                    .y = y,
                                    .p = p,
                                    .seed = 0xfedcba9876543210,
                                    .stream = 0x123456789abcdef});
        return y.to(Device{});
      };
      INFO(n << " elements, p " << p);
      CHECK(same_bits(run(kGpu), run(Device{})));
    }
  }
}

TEST_CASE("kernels work in place where callers may ask for it", "[cuda]") {
  MUONLAB_NEEDS_GPU();
  Backend& backend = backend_of(kGpu);
  const Shape shape{5, 37};
  const Tensor x = gpu(shape, "x"), dy = gpu(shape, "dy");
  const auto act = Activation::gelu;
  {
    INFO("activation: y is x; dx is dy");
    Tensor y = Tensor::empty(shape, kF32, kGpu), same = x.clone();
    backend.activation({.kind = act, .x = x, .y = y});
    backend.activation({.kind = act, .x = same, .y = same});
    CHECK(same_bits(same, y));
    Tensor dx = Tensor::empty(shape, kF32, kGpu), same_dy = dy.clone();
    backend.activation_backward({.kind = act, .x = x, .dy = dy, .dx = dx});
    backend.activation_backward({.kind = act, .x = x, .dy = same_dy, .dx = same_dy});
    CHECK(same_bits(same_dy, dx));
  }
  {
    INFO("activation backward: y takes the place of x");
    Tensor y = Tensor::empty(shape, kF32, kGpu), same = x.clone();
    Tensor dx = Tensor::empty(shape, kF32, kGpu), dx_same = Tensor::empty(shape, kF32, kGpu);
    backend.activation_backward({.kind = act, .x = x, .dy = dy, .dx = dx, .y = y});
    backend.activation_backward({.kind = act, .x = same, .dy = dy, .dx = dx_same, .y = same});
    CHECK(same_bits(same, y));
    CHECK(same_bits(dx_same, dx));
  }
  {
    INFO("cross entropy: the gradient takes the place of the logits");
    const Tensor targets = random_ids(Shape{5}, 37, "targets").to(kGpu);
    Tensor losses = Tensor::empty({5}, kF32, kGpu), lse = Tensor::empty({5}, kF32, kGpu);
    backend.cross_entropy({.logits = x, .targets = targets, .losses = losses, .lse = lse});
    Tensor apart = Tensor::empty(shape, kF32, kGpu), same = x.clone();
    backend.cross_entropy_backward(
        {.logits = x, .targets = targets, .lse = lse, .dlogits = apart, .scale = 0.5});
    backend.cross_entropy_backward(
        {.logits = same, .targets = targets, .lse = lse, .dlogits = same, .scale = 0.5});
    CHECK(same_bits(same, apart));
  }
  {
    INFO("norm: the gradients of gain and offset are one tensor");
    const Tensor w = gpu(Shape{37}, "w"), b = gpu(Shape{37}, "b");
    Tensor y = Tensor::empty(shape, kF32, kGpu), mean = Tensor::empty({5}, kF32, kGpu);
    Tensor rstd = Tensor::empty({5}, kF32, kGpu);
    backend.norm({.x = x, .w = w, .b = b, .y = y, .mean = mean, .rstd = rstd});
    NormBackwardArgs args{.x = x, .w = w, .mean = mean, .rstd = rstd, .dy = dy};
    args.dw = Tensor::empty({37}, kF32, kGpu);
    args.db = Tensor::empty({37}, kF32, kGpu);
    backend.norm_backward(args);
    Array want(args.dw);
    for (std::int64_t i = 0; i < 37; ++i) want[i] += Array(args.db)[i];
    args.dw = args.db = Tensor::empty({37}, kF32, kGpu);
    args.beta_db = 1;
    backend.norm_backward(args);
    CHECK(relative_error(Array(args.db), want) <= 2 * epsilon(kF32));
  }
  {
    INFO("embedding: token and position tables are one tensor");
    const Tensor ids = random_ids(Shape{2, 3}, 9, "ids").to(kGpu);
    const Tensor gradient = gpu(Shape{2, 3, 37}, "gradient");
    EmbeddingBackwardArgs args{.ids = ids, .dy = gradient};
    args.position = 4;
    args.dwte = Tensor::empty({9, 37}, kF32, kGpu);
    args.dwpe = Tensor::empty({9, 37}, kF32, kGpu);
    backend.embedding_backward(args);
    Array want(args.dwte);
    const Array position(args.dwpe);
    for (std::int64_t i = 0; i < want.numel(); ++i) want[i] += position[i];
    args.dwte = args.dwpe = Tensor::empty({9, 37}, kF32, kGpu);
    args.beta_dwpe = 1;
    backend.embedding_backward(args);
    CHECK(relative_error(Array(args.dwpe), want) <= 4 * epsilon(kF32));
  }
}

TEST_CASE("heads of every size up to 128", "[cuda][attention]") {
  MUONLAB_NEEDS_GPU();
  for (std::int64_t size : {16, 24, 64, 80, 128}) {
    for (double p : {0.0, 0.3}) {
      const AttentionDropout drop{p, 5, 7};
      const AttentionShape s{2, 1, size};
      const std::int64_t q = 2 * size;
      const Array qkv = normal_array(Shape{1, 67, s.packed()}, "qkv");
      const auto want = reference::causal_attention(
          reference::columns(qkv, 0, q), reference::columns(qkv, q, q + size),
          reference::columns(qkv, q + size, q + 2 * size), 2, 1,
          1 / std::sqrt(static_cast<double>(size)), drop);
      // The second call runs on: its logits are smaller.
      Tensor top = Tensor::empty({2}, kF32, kGpu);
      top.fill(-std::numeric_limits<double>::infinity());
      const Var y = causal_attention(gpu(qkv), s, top, drop);
      Array half = qkv;
      for (double& v : half.values) v *= 0.5;
      causal_attention(gpu(half), s, top);
      INFO("head size " << size << ", dropout " << p);
      CHECK(relative_error(Array(y.value()), want.y) <= tolerance(kF32, 67 + size));
      for (std::size_t h = 0; h < 2; ++h)
        CHECK(top.to_vector()[h] == Approx(want.max_logit[h]).epsilon(tolerance(kF32, size)));
      // Gradients: beside those of the f64 kernels on the CPU.
      const auto gradient = [&](Device device, DType dtype) {
        const Var x = Var::leaf(qkv.tensor(dtype, device));
        Tape tape;
        Recording recording(tape);
        tape.backward(weighted_sum(causal_attention(x, s, {}, drop), "heads"));
        return Array(x.grad());
      };
      CHECK(relative_error(gradient(kGpu, kF32), gradient(Device{}, DType::f64)) <=
            tolerance(kF32, 2 * 67 + size));
    }
  }
  CHECK_THROWS_AS(causal_attention(gpu(Shape{1, 2, 3 * 129}, "large"), {1, 1, 129}), Unsupported);
}

TEST_CASE("maximum logits below zero", "[cuda][attention]") {
  MUONLAB_NEEDS_GPU();
  // Queries of 1 and keys of -1, -2, ...: the largest logit of each head is that of the first key.
  Array qkv(Shape{1, 40, 3 * 2 * 16});
  for (std::int64_t t = 0; t < 40; ++t)
    for (std::int64_t c = 0; c < 64; ++c)
      qkv[t * 96 + c] = c < 32 ? 1 : -static_cast<double>(t + 1) * (c < 48 ? 1 : 2);
  Tensor top = Tensor::empty({2}, kF32, kGpu);
  top.fill(-std::numeric_limits<double>::infinity());
  causal_attention(gpu(qkv), {2, 2, 16}, top);
  CHECK(top.to_vector() == std::vector<double>{-4, -8});
}

TEST_CASE("attention behind a cache on the GPU is the tail of attention over everything",
          "[cuda][attention]") {
  MUONLAB_NEEDS_GPU();
  const AttentionShape s{4, 2, 6};
  const std::int64_t time = 70, room = 75, q = 24, kv = 12;
  const Array all = normal_array(Shape{2, time, s.packed()}, "all");
  const Array want = reference::causal_attention(
                         reference::columns(all, 0, q), reference::columns(all, q, q + kv),
                         reference::columns(all, q + kv, q + 2 * kv), 4, 2, 1 / std::sqrt(6.0))
                         .y;
  for (std::int64_t past : {1, 31, 32, 69}) {
    Tensor cache = Tensor::empty({2, room, 2 * kv}, kF32, kGpu);
    cache.fill(std::nan(""));  // what it holds beyond its rows must not matter
    const auto part = [&](std::int64_t begin, std::int64_t end) {
      Array rows(Shape{2, end - begin, s.packed()});
      for (std::int64_t b = 0; b < 2; ++b)
        std::copy_n(all.values.begin() + (b * time + begin) * s.packed(),
                    (end - begin) * s.packed(),
                    rows.values.begin() + b * (end - begin) * s.packed());
      return gpu(rows);
    };
    cached_attention(part(0, past), s, cache, 0);
    const Array got(cached_attention(part(past, time), s, cache, past));
    Array tail(got.shape);
    for (std::int64_t b = 0; b < 2; ++b)
      std::copy_n(want.values.begin() + (b * time + past) * q, (time - past) * q,
                  tail.values.begin() + b * (time - past) * q);
    INFO(past << " in the cache");
    CHECK(relative_error(got, tail) <= tolerance(kF32, time));
  }
}

TEST_CASE("a logit that is not a number reaches the loss on the GPU", "[cuda][cross_entropy]") {
  MUONLAB_NEEDS_GPU();
  const auto loss = [](const Array& logits) {
    Tensor losses = Tensor::empty({1}, kF32, kGpu), lse = Tensor::empty({1}, kF32, kGpu);
    backend_of(kGpu).cross_entropy({.logits = gpu(logits),
                                    .targets = Tensor::zeros({1}, DType::i32, kGpu),
                                    .losses = losses,
                                    .lse = lse});
    return losses.item();
  };
  for (std::int64_t at : {0, 1, 16, 299}) {
    Array logits = normal_array(Shape{1, 300}, "logits");
    logits[at] = std::nan("");
    CHECK(std::isnan(loss(logits)));
    logits[at] = INFINITY;
    CHECK(!std::isfinite(loss(logits)));
    logits[at] = -INFINITY;  // a class that cannot be
    CHECK(std::isfinite(loss(logits)) == (at != 0));
  }
  Array far(Shape{1, 3});
  far.values = {1e4, -1e4, 3e38};
  CHECK(loss(far) == Approx(3e38));
}

TEST_CASE("a training step asks the GPU for no memory once it has run", "[cuda][memory]") {
  MUONLAB_NEEDS_GPU();
  const auto step = [] {
    const Var x = Var::leaf(gpu(Shape{2, 9, 48}, "x"));
    Tape tape;
    Recording recording(tape);
    tape.backward(weighted_sum(causal_attention(x, {2, 2, 8}), "memory"));
    return math::sum_squares(x.grad());
  };
  step();
  const Allocator& allocator = backend_of(kGpu).allocator();
  const std::int64_t before = allocator.stats().raw_allocs;
  step();
  CHECK(allocator.stats().raw_allocs == before);
}

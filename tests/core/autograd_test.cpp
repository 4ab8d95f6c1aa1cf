#include "core/autograd.h"

#include <functional>

#include "core/backend.h"
#include "core/error.h"
#include "core/math.h"
#include "tests/support/catch.h"

using namespace muonlab;

namespace {

using Values = std::vector<double>;

Tensor f64(const Values& v) {
  return Tensor::from<double>({static_cast<std::int64_t>(v.size())}, v);
}
Var leaf(const Values& v) { return Var::leaf(f64(v)); }

/// y = factor x. Writes its gradient through open().
struct Scale {
  double factor;
  Tensor forward(const Tensor& x) {
    Tensor y = Tensor::empty(x.shape(), x.dtype());
    math::axpby(y, factor, x, 0);
    return y;
  }
  void backward(Tensor dy, std::span<GradSink, 1> in) {
    if (!in[0].wanted()) return;
    auto [dx, beta] = in[0].open(dy);
    math::axpby(dx, factor, dy, beta);
  }
};

/// y = a + b. Gives one and the same gradient to both inputs.
struct Add {
  Tensor forward(const Tensor& a, const Tensor& b) {
    Tensor y = Tensor::empty(a.shape(), a.dtype());
    math::add(y, 1, a, 1, b);
    return y;
  }
  void backward(Tensor dy, std::span<GradSink, 2> in) {
    for (GradSink& sink : in)
      if (sink.wanted()) sink.give(dy);
  }
};

/// y = a b, elementwise; keeps both inputs.
struct Mul {
  Tensor a, b;
  Tensor forward(const Tensor& x, const Tensor& z) {
    a = x;
    b = z;
    Tensor y = Tensor::empty(x.shape(), x.dtype());
    math::mul(y, x, z);
    return y;
  }
  void backward(Tensor dy, std::span<GradSink, 2> in) {
    const Tensor other[] = {b, a};
    for (std::size_t i = 0; i < 2; ++i) {
      if (!in[i].wanted()) continue;
      auto [dx, beta] = in[i].open(dy);
      math::mul(dx, dy, other[i], beta);
    }
  }
};

/// y = x, in place of x's gradient: overwrites dy where dy is its own, as fused primitives do.
struct Negate {
  Tensor forward(const Tensor& x) { return Scale{-1}.forward(x); }
  void backward(Tensor dy, std::span<GradSink, 1> in) {
    if (!in[0].wanted()) return;
    Tensor dx = dy.unique() ? dy : dy.clone();
    math::axpby(dx, 0, dx, -1);
    in[0].give(dx);
  }
};

/// The sum of all elements, so that there is a loss.
struct Sum {
  Shape shape;
  Tensor forward(const Tensor& x) {
    shape = x.shape();
    return f64({math::sum(x)});
  }
  void backward(Tensor dy, std::span<GradSink, 1> in) {
    if (!in[0].wanted()) return;
    Tensor dx = Tensor::empty(shape, dy.dtype());
    dx.fill(dy.item());
    in[0].give(dx);
  }
};

Var scale(double factor, const Var& x) { return record(Scale{factor}, x); }
Var operator+(const Var& a, const Var& b) { return record(Add{}, a, b); }
Var operator*(const Var& a, const Var& b) { return record(Mul{}, a, b); }
Var operator-(const Var& x) { return record(Negate{}, x); }
Var sum(const Var& x) { return record(Sum{}, x); }

void backward(const std::function<Var()>& loss, double seed = 1) {
  Tape tape;
  const Recording recording(tape);
  tape.backward(loss(), seed);
  CHECK(tape.size() == 0);
}

}  // namespace

TEST_CASE("autograd: the chain rule") {
  const Var x = leaf({1, 2, 3}), y = leaf({4, 5, 6});
  backward([&] { return sum(scale(3, x * y)); });
  CHECK(x.grad().to_vector() == Values{12, 15, 18});
  CHECK(y.grad().to_vector() == Values{3, 6, 9});
}

TEST_CASE("autograd: a value used many times collects every gradient") {
  const Var x = leaf({1, 2, 3});
  backward([&] { return sum(x * x * x); });
  CHECK(x.grad().to_vector() == Values{3, 12, 27});
  const Var y = leaf({5});
  backward([&] { return sum(y + y + y); });
  CHECK(y.grad().to_vector() == Values{3});
}

TEST_CASE("autograd: the first writer assigns, later ones add") {
  GradSlot slot;
  slot.leaf = true;
  slot.grad = f64({1e300, 1e300});  // of an earlier step: must not be read
  GradSink sink(&slot);
  CHECK(sink.wanted());
  auto first = sink.open(slot.grad);
  CHECK(first.beta == 0);
  CHECK(first.dst.shares(slot.grad));
  first.dst.fill(2);
  auto second = sink.open(slot.grad);
  CHECK(second.beta == 1);
  math::axpby(second.dst, 1, f64({10, 20}), second.beta);
  CHECK(slot.grad.to_vector() == Values{12, 22});
  sink.give(f64({100, 200}));
  CHECK(slot.grad.to_vector() == Values{112, 222});
  CHECK_FALSE(GradSink(nullptr).wanted());
}

TEST_CASE("autograd: a given gradient is taken without a copy and copied before a second writer") {
  GradSlot a, b;
  const Tensor g = f64({1, 2});
  GradSink(&a).give(g);
  GradSink(&b).give(g);
  CHECK(a.grad.shares(g));
  CHECK(b.grad.shares(g));
  GradSink(&a).give(f64({10, 10}));
  CHECK(a.grad.to_vector() == Values{11, 12});
  CHECK(b.grad.to_vector() == Values{1, 2});
  CHECK(g.to_vector() == Values{1, 2});
  auto target = GradSink(&b).open(g);
  target.dst.fill(7);
  CHECK(g.to_vector() == Values{1, 2});
}

TEST_CASE("autograd: a leaf keeps storage of its own") {
  const Var x = leaf({1, 2});
  const Tensor g = f64({3, 4});
  GradSink(x.slot().get()).give(g);
  CHECK_FALSE(x.grad().shares(g));
  CHECK(x.grad().to_vector() == Values{3, 4});
}

// The gradient of a sum goes to both branches as one tensor. Each branch adds to it, overwrites it
// or hands it on; neither may see what the other did.
TEST_CASE("autograd: branches that share a gradient do not disturb each other") {
  const Var x = leaf({1, 2}), y = leaf({3, 4});
  SECTION("one branch overwrites in place") {
    backward([&] {
      const Var a = scale(2, x), b = scale(5, y);
      return sum(-a + b);
    });
    CHECK(x.grad().to_vector() == Values{-2, -2});
    CHECK(y.grad().to_vector() == Values{5, 5});
  }
  SECTION("the other branch overwrites in place") {
    backward([&] {
      const Var a = scale(2, x), b = scale(5, y);
      return sum(a + -b);
    });
    CHECK(x.grad().to_vector() == Values{2, 2});
    CHECK(y.grad().to_vector() == Values{-5, -5});
  }
  SECTION("residual stream: every block adds to what it passes on") {
    // h' = h + (-h) 3, three times: the factor of the gradient is (1 - 3)^3 = -8.
    backward([&] {
      Var h = scale(1, x);
      for (int block = 0; block < 3; ++block) h = h + scale(3, -h);
      return sum(h);
    });
    CHECK(x.grad().to_vector() == Values{-8, -8});
  }
  SECTION("a chain of sums over both leaves") {
    // s1 = x + y, s2 = s1 + x, s3 = s2 - s1: = x + ... by hand: s3 = x.
    backward([&] {
      const Var a = scale(1, x), b = scale(1, y);
      const Var s1 = a + b, s2 = s1 + a;
      return sum(s2 + -s1);
    });
    CHECK(x.grad().to_vector() == Values{1, 1});
    CHECK(y.grad().to_vector() == Values{0, 0});
  }
}

TEST_CASE("autograd: leaves add up over backward passes until zero_grad") {
  Var x = leaf({1, 2});
  const Allocator& allocator = backend_of(Device{}).allocator();
  const std::size_t before = allocator.stats().live;
  backward([&] { return sum(scale(3, x)); });
  backward([&] { return sum(scale(4, x)); });
  CHECK(x.grad().to_vector() == Values{7, 7});
  CHECK(allocator.stats().live > before);
  x.zero_grad();
  CHECK_FALSE(x.grad().defined());
  CHECK(allocator.stats().live == before);
  backward([&] { return sum(scale(5, x)); });
  CHECK(x.grad().to_vector() == Values{5, 5});
}

TEST_CASE("autograd: the seed scales the gradient") {
  const Var x = leaf({1, 2});
  backward([&] { return sum(x * x); }, 0.25);
  CHECK(x.grad().to_vector() == Values{0.5, 1});
}

TEST_CASE("autograd: outputs that reach no loss cost nothing") {
  const Var x = leaf({1, 2}), unused = leaf({3, 4});
  backward([&] {
    const Var dead = scale(7, unused * x);
    CHECK(dead.slot() != nullptr);
    return sum(x);
  });
  CHECK(x.grad().to_vector() == Values{1, 1});
  CHECK_FALSE(unused.grad().defined());
}

TEST_CASE("autograd: constants get no gradient and record nothing") {
  const Var x = leaf({1, 2}), constant(f64({3, 4}));
  Tape tape;
  const Recording recording(tape);
  const Var c = constant * constant;
  CHECK(c.slot() == nullptr);
  CHECK(tape.size() == 0);
  const Var loss = sum(x * c);
  CHECK(tape.size() == 2);
  tape.backward(loss);
  CHECK(x.grad().to_vector() == Values{9, 16});
  CHECK_FALSE(constant.grad().defined());
  CHECK_FALSE(c.grad().defined());
}

TEST_CASE("autograd: nothing is recorded without a Recording") {
  const Var x = leaf({1, 2});
  CHECK(Recording::active() == nullptr);
  CHECK(sum(x).slot() == nullptr);
  Tape outer, inner;
  {
    const Recording a(outer);
    {
      const Recording b(inner);
      CHECK(Recording::active() == &inner);
      scale(2, x);
    }
    CHECK(Recording::active() == &outer);
  }
  CHECK(Recording::active() == nullptr);
  CHECK(inner.size() == 1);
  CHECK(outer.size() == 0);
}

TEST_CASE("autograd: each node is freed once used, and its activations with it") {
  struct Watch final : Node {
    Tensor kept;
    std::size_t* seen;
    Watch(Tensor t, std::size_t* out) : kept(std::move(t)), seen(out) {}
    void backward() override { *seen = backend_of(Device{}).allocator().stats().live; }
  };
  Allocator& allocator = backend_of(Device{}).allocator();
  const Var loss = leaf({1});
  const std::size_t start = allocator.stats().live;
  std::size_t in_second = 0, in_first = 0;
  constexpr std::size_t kBytes = 8 * 100'000;
  Tape tape;
  tape.push(std::make_unique<Watch>(Tensor::empty({100'000}, DType::f64), &in_first));
  tape.push(std::make_unique<Watch>(Tensor::empty({100'000}, DType::f64), &in_second));
  tape.backward(loss);
  CHECK(in_second >= start + 2 * kBytes);
  CHECK(in_first < start + 2 * kBytes);
  CHECK(in_first >= start + kBytes);
  CHECK(tape.size() == 0);
  CHECK(allocator.stats().live < start + kBytes);
}

TEST_CASE("autograd: a tape that is cleared leaves no gradient behind") {
  const Var x = leaf({1, 2});
  Tape tape;
  {
    const Recording recording(tape);
    sum(scale(2, x));
  }
  tape.clear();
  CHECK(tape.size() == 0);
  CHECK_FALSE(x.grad().defined());
}

TEST_CASE("autograd: a loss has one element") {
  const Var x = leaf({1, 2});
  Tape tape;
  const Recording recording(tape);
  const Var y = scale(2, x);
  CHECK_THROWS_AS(tape.backward(y), ShapeError);
}

TEST_CASE("autograd: a loss that was not recorded is an error, not a step without gradients") {
  const Var x = leaf({2});
  const Var loss = scale(3, x);
  Tape tape;
  CHECK_THROWS_AS(tape.backward(loss), Error);
}

TEST_CASE("autograd: a leaf that is the loss itself adds up like any other") {
  const Var x = leaf({2});
  Tape tape;
  tape.backward(x, 0.5);
  tape.backward(x, 0.25);
  CHECK(x.grad().to_vector() == Values{0.75});
}

#include "tests/support/op_case.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include "core/cpu/parallel.h"
#include "core/error.h"
#include "core/ops/elementwise.h"
#include "tests/support/catch.h"
#include "tests/support/close.h"
#include "tests/support/gradcheck.h"

namespace muonlab::test {
namespace {

/// The sum of y weighted by fixed numbers: a scalar whose gradient with respect to y is the
/// weights.
struct WeightedSum {
  Array weights;
  DType dtype = DType::f32;
  Device device{};

  Tensor forward(const Tensor& y) {
    const Array values(y);
    long double sum = 0;  // so that the rounding of this sum does not blur finite differences
    for (std::int64_t i = 0; i < values.numel(); ++i)
      sum += static_cast<long double>(weights[i]) * static_cast<long double>(values[i]);
    Array scalar(Shape{1});
    scalar[0] = static_cast<double>(sum);
    dtype = y.dtype();
    device = y.device();
    return scalar.tensor(wide_type(dtype), device);
  }
  void backward(Tensor dy, std::span<GradSink, 1> in) {
    if (!in[0].wanted()) return;
    Array gradient = weights;
    for (double& g : gradient.values) g *= dy.item();
    in[0].give(gradient.tensor(dtype, device));
  }
};

Array rounded_to(DType dtype, Array a) {
  return dtype == DType::bf16 ? rounded_to_bf16(std::move(a)) : a;
}

/// The type of an input beside activations of type `dtype`.
DType type_of(const OpInput& in, DType dtype) {
  return in.vocab ? DType::i32 : in.parameter ? wide_type(dtype) : dtype;
}

/// The inputs of one run, as leaves (wanted) or constants: numbers that a run in `numbers` can
/// have.
std::vector<Var> make_inputs(const OpCase& op, Device device, DType dtype, DType numbers) {
  std::vector<Var> inputs;
  for (const OpInput& in : op.inputs) {
    const std::string key = op.name() + " " + in.name;
    if (in.vocab) {
      inputs.emplace_back(random_ids(in.shape, in.vocab, key).to(device));
    } else {
      const Array values = normal_array(in.shape, key, in.mean, in.deviation);
      inputs.push_back(
          Var::leaf(rounded_to(type_of(in, numbers), values).tensor(type_of(in, dtype), device)));
    }
  }
  return inputs;
}
std::vector<Var> make_inputs(const OpCase& op, Device device, DType dtype) {
  return make_inputs(op, device, dtype, dtype);
}

std::vector<Array> values_of(const std::vector<Var>& inputs) {
  std::vector<Array> values;
  for (const Var& in : inputs) values.emplace_back(in.value());
  return values;
}

Var weighted_sum(const Var& y, const std::string& name, DType numbers) {
  return record(WeightedSum{rounded_to(numbers, normal_array(y.shape(), name + " weights"))}, y);
}

/// Applies the op and propagates from the weighted sum of its output to the leaves among `inputs`.
Tensor forward_backward(const OpCase& op, const std::vector<Var>& inputs, DType numbers) {
  Tape tape;
  Recording recording(tape);
  const Var y = op.apply(inputs);
  const Tensor out = y.value().clone();
  tape.backward(weighted_sum(y, op.name(), numbers));
  return out;
}

/// Output and gradients of one run with everything wanted; an undefined tensor for ids.
struct Run {
  Tensor y;
  std::vector<Tensor> grads;
};
Run run(const OpCase& op, Device device, DType dtype, DType numbers) {
  const std::vector<Var> inputs = make_inputs(op, device, dtype, numbers);
  Run r;
  r.y = forward_backward(op, inputs, numbers);
  for (const Var& in : inputs) r.grads.push_back(in.grad());
  return r;
}
Run run(const OpCase& op, Device device, DType dtype) { return run(op, device, dtype, dtype); }

}  // namespace

Var weighted_sum(const Var& y, const std::string& name) {
  return weighted_sum(y, name, y.value().dtype());
}

OpError op_error(const OpCase& op, Device device, DType dtype) {
  const Run got = run(op, device, dtype);
  const Run exact = run(op, Device{}, DType::f64, dtype);
  const Array want = op.reference(values_of(make_inputs(op, Device{}, DType::f64, dtype)));
  OpError error;
  error.output_type = got.y.dtype();
  error.output = relative_error(Array(got.y), want);
  for (std::size_t i = 0; i < got.grads.size(); ++i) {
    const OpInput& in = op.inputs[i];
    if (in.vocab) continue;
    const Tensor& grad = got.grads[i];
    double& largest = in.parameter ? error.parameters : error.gradients;
    largest = std::max(largest, grad.defined() && grad.dtype() == type_of(in, dtype)
                                    ? relative_error(Array(grad), Array(exact.grads[i]))
                                    : std::numeric_limits<double>::infinity());
  }
  return error;
}

void check_oracle(const OpCase& op, Device device, DType dtype) {
  const OpError error = op_error(op, device, dtype);
  CHECK(error.output <= tolerance(dtype, op.terms));
  CHECK(error.gradients <= tolerance(dtype, op.terms));
  CHECK(error.parameters <= tolerance(dtype, op.terms));
}

void check_differences(const OpCase& op) {
  const std::vector<Var> inputs = make_inputs(op, Device{}, DType::f64);
  const Array y(forward_backward(op, inputs, DType::f64));
  const Array weights = normal_array(y.shape, op.name() + " weights");
  Array weighted = y;
  for (std::int64_t i = 0; i < y.numel(); ++i) weighted[i] *= weights[i];
  // Every element of the output is off by the rounding of its sum, in random directions.
  const double noise = tolerance(DType::f64, op.terms) * rms(weighted) *
                       std::sqrt(static_cast<double>(weighted.numel()));
  const auto loss = [&] { return weighted_sum(op.apply(inputs), op.name()).value().item(); };
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (op.inputs[i].vocab) continue;
    REQUIRE(inputs[i].grad().defined());
    check_gradient(op.inputs[i].name, loss, inputs[i].value(), inputs[i].grad(), 12, noise);
  }
}

void check_contract(const OpCase& op, Device device, DType dtype) {
  // In bf16 each of up to four sums on the way rounds by at most 2^-8 of itself.
  const double near = dtype == DType::bf16 ? 4 * 0x1p-8 : tolerance(dtype, op.terms);
  const Run once = run(op, device, dtype);
  const std::vector<Array> values = values_of(make_inputs(op, device, dtype));
  const auto is_ids = [&](std::size_t i) { return op.inputs[i].vocab > 0; };

  {
    INFO("a second backward pass adds, and the inputs keep their bits");
    const std::vector<Var> inputs = make_inputs(op, device, dtype);
    forward_backward(op, inputs, dtype);
    forward_backward(op, inputs, dtype);
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      INFO("input " << op.inputs[i].name);
      CHECK(Array(inputs[i].value()).values == values[i].values);
      if (is_ids(i)) continue;
      Array twice(once.grads[i]);
      for (double& g : twice.values) g *= 2;
      CHECK(relative_error(Array(inputs[i].grad()), twice) <= near);
    }
  }
  {
    INFO("the first gradient assigns over what lay in the slot");
    std::vector<Var> inputs = make_inputs(op, device, dtype);
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      if (is_ids(i)) continue;
      inputs[i].slot()->grad =
          Tensor::empty(inputs[i].shape(), type_of(op.inputs[i], dtype), device);
      inputs[i].slot()->grad.fill(std::numeric_limits<double>::quiet_NaN());
    }
    forward_backward(op, inputs, dtype);
    for (std::size_t i = 0; i < inputs.size(); ++i)
      if (!is_ids(i)) CHECK(same_bits(inputs[i].grad(), once.grads[i]));
  }
  std::size_t differentiable = 0;
  for (std::size_t i = 0; i < op.inputs.size(); ++i) differentiable += !is_ids(i);
  for (std::size_t unwanted = 0; unwanted < op.inputs.size(); ++unwanted) {
    if (is_ids(unwanted) || differentiable == 1) continue;  // with none left nothing is recorded
    INFO("no gradient wanted for " << op.inputs[unwanted].name);
    std::vector<Var> inputs = make_inputs(op, device, dtype);
    inputs[unwanted] = Var(inputs[unwanted].value());
    forward_backward(op, inputs, dtype);
    for (std::size_t i = 0; i < inputs.size(); ++i)
      if (!is_ids(i) && i != unwanted) CHECK(same_bits(inputs[i].grad(), once.grads[i]));
  }
  {
    INFO("constants record nothing, and the output is the same");
    std::vector<Var> constants;
    for (const Var& in : make_inputs(op, device, dtype)) constants.emplace_back(in.value());
    Tape tape;
    Recording recording(tape);
    const Var y = op.apply(constants);
    CHECK(tape.size() == 0);
    CHECK(!y.slot());
    CHECK(same_bits(y.value(), once.y));
  }
  for (std::size_t i = 0; i < op.inputs.size(); ++i) {
    if (is_ids(i)) continue;
    // Input i becomes an inner value x = a + b with a second use, x + z, which backward reaches
    // first: `add` hands one tensor to the slots of x and of z. The op's gradient is then added to
    // that of x, and must not reach z, nor b, which shares with a.
    INFO("input " << op.inputs[i].name << " is an inner value with a second use");
    std::vector<Var> inputs = make_inputs(op, device, dtype);
    const Var a = inputs[i];
    const DType type = a.value().dtype();
    const auto zeros = [&] { return Var::leaf(Tensor::zeros(a.shape(), type, device)); };
    const Var b = zeros(), c = zeros();
    {
      Tape tape;
      Recording recording(tape);
      const Var x = inputs[i] = add(a, b);
      const Var z = scale(c, 1);
      const Var first = weighted_sum(op.apply(inputs), op.name(), dtype);
      tape.backward(add(first, weighted_sum(add(x, z), "second use")));
    }
    const Array second = rounded_to(type, normal_array(a.shape(), "second use weights"));
    Array want(once.grads[i]);
    for (std::int64_t k = 0; k < want.numel(); ++k) want[k] += second[k];
    CHECK(relative_error(Array(a.grad()), want) <= near);
    CHECK(same_bits(b.grad(), a.grad()));
    CHECK(same_bits(c.grad(), second.tensor(type, device)));
  }
  const std::string tag = "[" + op.op + "]";
  for (const BadShape& bad : op.bad) {
    std::vector<Var> inputs = make_inputs(op, device, dtype);
    const OpInput& in = op.inputs[bad.input];
    INFO(in.name << " of shape " << bad.shape.str());
    inputs[bad.input] = Tensor::zeros(bad.shape, type_of(in, dtype), device);
    std::string message = "nothing was thrown";
    try {
      op.apply(inputs);
    } catch (const ShapeError& e) {
      message = e.what();
    }
    INFO(message);
    CHECK(message.find(tag) != std::string::npos);
  }
  for (std::size_t i = 0; i < op.inputs.size(); ++i) {
    if (op.inputs.size() == 1) continue;
    INFO(op.inputs[i].name << " of another type than the rest");
    std::vector<Var> inputs = make_inputs(op, device, dtype);
    const DType other = is_ids(i) ? dtype : DType::i32;
    inputs[i] = Tensor::zeros(op.inputs[i].shape, other, device);
    CHECK_THROWS_AS(op.apply(inputs), DtypeError);
  }
}

void check_threads(const OpCase& op, DType dtype) {
  const int before = cpu::threads();
  cpu::set_threads(1);
  const Run alone = run(op, Device{}, dtype);
  for (int threads : {2, 3, 8}) {
    INFO(threads << " threads against 1");
    cpu::set_threads(threads);
    const Run many = run(op, Device{}, dtype);
    CHECK(same_bits(many.y, alone.y));
    for (std::size_t i = 0; i < many.grads.size(); ++i) {
      INFO("input " << op.inputs[i].name);
      if (!op.inputs[i].vocab) CHECK(same_bits(many.grads[i], alone.grads[i]));
    }
  }
  cpu::set_threads(before);
}

}  // namespace muonlab::test

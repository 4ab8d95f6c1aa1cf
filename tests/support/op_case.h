#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/autograd.h"
#include "tests/support/array.h"

// A primitive as data. It is described once, as an OpCase, and every property that all primitives
// share is then tested by the functions below, on any device.
namespace muonlab::test {

/// One tensor that an op reads: normal values, or token ids.
struct OpInput {
  std::string name;
  Shape shape;
  std::int64_t vocab = 0;  ///< > 0: i32 ids in [0, vocab), which have no gradient
  double deviation = 1, mean = 0;
  bool parameter = false;  ///< f32 beside activations in bf16
};

/// A shape of one input that the op must refuse when all others are right.
struct BadShape {
  std::size_t input;
  Shape shape;
};

/// How often numbers on the way to a result are rounded to bf16, where activations are bf16:
/// parameters before a product, and inner results. The result's own rounding is not counted.
struct Roundings {
  int output = 0, gradients = 0, parameters = 0;  ///< gradients: of activations and of parameters
};

struct OpCase {
  std::string op;       ///< as the op calls itself in its errors: "[layer_norm] ..."
  std::string variant;  ///< what this case is about
  std::vector<OpInput> inputs;
  std::function<Var(const std::vector<Var>&)> apply;
  std::function<Array(const std::vector<Array>&)> reference;
  /// Terms of the longest sum in one element of the output or of a gradient.
  std::int64_t terms = 1;
  Roundings roundings{};
  std::vector<BadShape> bad;

  std::string name() const { return op + ", " + variant; }
};

/// Every primitive in every variant.
const std::vector<OpCase>& op_cases();

/// The sum of y's elements weighted by normal_array(y.shape(), name + " weights"), rounded to bf16
/// if y is: a scalar to propagate from, whose gradient is the weights.
Var weighted_sum(const Var& y, const std::string& name);

/// Relative error (close.h) of the output against the reference in f64, and the largest of the
/// gradients, of parameters and of the rest, against those of the f64 kernels on the CPU, which
/// finite differences vouch for. All are given the same numbers.
struct OpError {
  DType output_type = DType::f32;
  double output = 0, gradients = 0, parameters = 0;
};
OpError op_error(const OpCase& op, Device device, DType dtype);

/// Output and gradients are within the tolerance of their type and size.
void check_oracle(const OpCase& op, Device device, DType dtype);

/// Gradients against finite differences, f64 on the CPU.
void check_differences(const OpCase& op);

/// The rules of sinks and errors: the first gradient written to a slot assigns, whatever lay there;
/// later ones add; inputs that want no gradient change nothing in the others and record nothing;
/// inputs keep their bits; a value used twice gets both gradients; a gradient that is shared with
/// another input is not overwritten; wrong shapes and mixed types throw with the op's name.
void check_contract(const OpCase& op, Device device, DType dtype);

/// 1, 2, 3 and 8 threads give the same bits, in output and gradients.
void check_threads(const OpCase& op, DType dtype);

}  // namespace muonlab::test

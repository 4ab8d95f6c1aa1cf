#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/tensor.h"

// Elementwise work as data: a function is written once, on lanes, and any backend runs it over any
// number of tensors in one pass, so that an optimizer's update reads and writes each number once
// and costs one launch on a GPU. `lane` stands for one element; functions read like their formula:
//
//   ElementwiseBuilder f;
//   f.store(0, f.column(0) - 0.1 * f.column(1));    // w = w - 0.1 g
//   math::elementwise(f.program(), {{.columns = {w, g}}});
namespace muonlab {

/// What one instruction computes from its operands a, b, c.
enum class ElementOp : std::uint8_t {
  copy,  ///< a
  add,   ///< a + b
  sub,   ///< a - b
  mul,   ///< a b
  div,   ///< a / b
  fma,   ///< a b + c
  fnma,  ///< c - a b
  lerp,  ///< a + c (b - a)
  min,   ///< the smaller; b if one of them is NaN
  max,   ///< the larger; b if one of them is NaN
  sqrt,  ///< root of a
  abs,   ///< |a|
  sign,  ///< -1, 0 or 1; 0 if a is NaN
};

/// Where an operand lies. Columns are the tensors of a row; a scalar belongs to a row, a constant
/// to the program.
enum class OperandKind : std::uint8_t { none, column, temporary, scalar, constant };
struct Operand {
  OperandKind kind = OperandKind::none;
  std::uint8_t index = 0;
  bool operator==(const Operand&) const = default;
};

struct ElementInstruction {
  ElementOp op = ElementOp::copy;
  Operand dst{};  ///< a column or a temporary
  Operand a{}, b{}, c{};
};

/// A finished program: instructions in order, each for all elements of a tile before the next.
/// Plain data, so that it can be handed to a GPU kernel by value.
struct ElementProgram {
  static constexpr int kMaxColumns = 8, kMaxTemporaries = 8, kMaxScalars = 4;
  static constexpr int kMaxConstants = 24, kMaxInstructions = 48;

  int columns = 0, temporaries = 0, scalars = 0, constants = 0, instructions = 0;
  std::array<ElementInstruction, kMaxInstructions> code{};
  std::array<double, kMaxConstants> constant{};
  /// Bit k: column k is read / written.
  std::uint32_t reads = 0, writes = 0;
};

/// The tensors that a program runs over, of one shape, and the row's own numbers.
struct ElementRow {
  std::vector<Tensor> columns;
  std::vector<double> scalars{};
};

class ElementwiseBuilder;

/// The value of one element at one point of a program. A number is a lane too.
class Lane {
 public:
  Lane(double constant) : constant_(constant) {}  // NOLINT(google-explicit-constructor)

 private:
  friend class ElementwiseBuilder;
  friend Lane operator*(Lane a, Lane b);
  friend Lane operator/(Lane a, Lane b);
  Lane(ElementwiseBuilder* builder, Operand at) : builder_(builder), at_(at) {}

  ElementwiseBuilder* builder_ = nullptr;
  Operand at_{};
  double constant_ = 0;
};

Lane operator+(Lane a, Lane b);
Lane operator-(Lane a, Lane b);
Lane operator*(Lane a, Lane b);
/// Division by a number multiplies by its inverse.
Lane operator/(Lane a, Lane b);
Lane operator-(Lane a);
Lane sqrt(Lane a);
Lane abs(Lane a);
/// -1, 0 or 1
Lane sign(Lane a);
Lane min(Lane a, Lane b);
Lane max(Lane a, Lane b);
/// a + weight (b - a)
Lane lerp(Lane a, Lane b, Lane weight);

/// Writes down a program. All columns are read as they were before it, whatever is stored.
class ElementwiseBuilder {
 public:
  ElementwiseBuilder() = default;
  ElementwiseBuilder(const ElementwiseBuilder&) = delete;
  ElementwiseBuilder& operator=(const ElementwiseBuilder&) = delete;

  Lane column(int k);
  Lane scalar(int k);
  /// Column k becomes `value`; the last store to a column counts.
  void store(int k, Lane value);
  /// True if the lane is column k itself, so that storing it there would change nothing.
  static bool is_column(const Lane& lane, int k);
  /// The program: what no store needs is left out, a product that is only added
  /// or subtracted becomes one instruction with it,
  /// and values go straight to their columns where nobody reads the old ones afterwards. Throws:
  /// Error if it does not fit ElementProgram.
  ElementProgram program() const;

  /// Appends an operation. At least one operand must be of a builder. Used by the operators above.
  static Lane apply(ElementOp op, const Lane& a, const Lane& b = 0.0, const Lane& c = 0.0);

 private:
  struct Store {
    int column;
    Operand value;
  };
  Operand operand(const Lane& lane);

  // Operands of kind `temporary` name the instruction that computes them until program() places
  // them.
  std::vector<ElementInstruction> code_;
  std::vector<double> constants_;
  std::vector<Store> stores_;
};

}  // namespace muonlab

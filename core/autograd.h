#pragma once

#include <array>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "core/tensor.h"

// Reverse-mode differentiation on one linear tape. Eager: every primitive runs when it is called.
// Tensor knows nothing of it; Var = Tensor + gradient slot. First derivatives only.
namespace muonlab {

/// Where the gradient of one Var collects. The first writer assigns, later writers add.
struct GradSlot {
  Tensor grad;
  bool filled = false;
  bool leaf = false;   ///< a parameter: its gradient has storage of its own
  bool given = false;  ///< `grad` was handed over and may be read elsewhere: never written in place
};

/// A value that a primitive may differentiate through. A handle, cheap to copy.
class Var {
 public:
  Var() = default;
  /// A constant: no gradient is kept for it.
  Var(Tensor value) : value_(std::move(value)) {}  // NOLINT(google-explicit-constructor)
  Var(Tensor value, std::shared_ptr<GradSlot> slot)
      : value_(std::move(value)), slot_(std::move(slot)) {}
  /// A trainable value.
  static Var leaf(Tensor value);

  Tensor& value() { return value_; }
  const Tensor& value() const { return value_; }
  const Shape& shape() const { return value_.shape(); }
  const std::shared_ptr<GradSlot>& slot() const { return slot_; }
  /// The gradient that backward wrote to a leaf, or an undefined tensor.
  Tensor grad() const { return slot_ && slot_->filled ? slot_->grad : Tensor(); }
  /// Forgets the gradient and gives its storage back; the next writer assigns.
  void zero_grad();

 private:
  Tensor value_;
  std::shared_ptr<GradSlot> slot_;
};

/// What a primitive's backward writes one input's gradient to.
class GradSink {
 public:
  explicit GradSink(GradSlot* slot) : slot_(slot) {}

  /// False if nobody needs this gradient: then leave it out.
  bool wanted() const { return slot_ != nullptr; }
  struct Target {
    Tensor dst;
    double beta;  ///< 0: assign, 1: add
  };
  /// The tensor to write to, of the shape of `like`: dst = beta dst + value.
  Target open(const Tensor& like);
  /// Hands over a finished gradient. Takes the tensor itself where it can, so that no copy is made;
  /// the caller may keep reading it, but must not write to it again.
  void give(const Tensor& gradient);

 private:
  GradSlot* slot_;
};

/// One recorded primitive.
class Node {
 public:
  virtual ~Node() = default;
  virtual void backward() = 0;
};

class Tape {
 public:
  void push(std::unique_ptr<Node> node) { nodes_.push_back(std::move(node)); }
  std::size_t size() const { return nodes_.size(); }
  /// Runs the recorded primitives in reverse from a one-element `loss`, whose gradient starts as
  /// `seed`, and destroys each node once used, so that activations are freed on the way.
  /// Writes: adds to the gradients of all leaves.
  /// Throws: ShapeError; Error if the loss was not recorded.
  void backward(const Var& loss, double seed = 1);
  void clear() { nodes_.clear(); }

 private:
  std::vector<std::unique_ptr<Node>> nodes_;
};

/// Records primitives on `tape` for this thread while it lives. Without one, nothing is recorded.
class Recording {
 public:
  explicit Recording(Tape& tape);
  ~Recording();
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;
  /// The tape of the calling thread, or null.
  static Tape* active();

 private:
  Tape* previous_;
};

namespace detail {

template <class Op, std::size_t N>
class OpNode final : public Node {
 public:
  OpNode(Op op, std::array<std::shared_ptr<GradSlot>, N> inputs, std::shared_ptr<GradSlot> output)
      : op_(std::move(op)), inputs_(std::move(inputs)), output_(std::move(output)) {}

  void backward() override {
    if (!output_->filled) return;  // the output reached no loss
    Tensor dy = std::exchange(output_->grad, Tensor());
    output_->filled = output_->given = false;
    std::array<GradSink, N> sinks = make_sinks(std::make_index_sequence<N>{});
    op_.backward(std::move(dy), std::span<GradSink, N>(sinks));
  }

 private:
  template <std::size_t... I>
  std::array<GradSink, N> make_sinks(std::index_sequence<I...>) {
    return {GradSink(inputs_[I].get())...};
  }

  Op op_;
  std::array<std::shared_ptr<GradSlot>, N> inputs_;
  std::shared_ptr<GradSlot> output_;
};

}  // namespace detail

/// Runs a primitive and records it. Op is a struct with
///   Tensor forward(const Tensor&...)                       one argument per input
///   void backward(Tensor dy, std::span<GradSink, N> in)    dy is the op's own if dy.unique()
template <class Op, class... In>
Var record(Op op, const In&... in) {
  Tensor y = op.forward(in.value()...);
  Tape* tape = Recording::active();
  if (!tape || (!in.slot() && ...)) return Var(std::move(y));
  auto slot = std::make_shared<GradSlot>();
  tape->push(std::make_unique<detail::OpNode<Op, sizeof...(In)>>(
      std::move(op), std::array<std::shared_ptr<GradSlot>, sizeof...(In)>{in.slot()...}, slot));
  return Var(std::move(y), std::move(slot));
}

}  // namespace muonlab

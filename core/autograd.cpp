#include "core/autograd.h"

#include <fmt/format.h>

#include "core/error.h"
#include "core/math.h"

namespace muonlab {
namespace {

thread_local Tape* active_tape = nullptr;

}  // namespace

Var Var::leaf(Tensor value) {
  auto slot = std::make_shared<GradSlot>();
  slot->leaf = true;
  return {std::move(value), std::move(slot)};
}

void Var::zero_grad() {
  if (!slot_) return;
  slot_->filled = false;
  slot_->grad = Tensor();
}

GradSink::Target GradSink::open(const Tensor& like) {
  GradSlot& s = *slot_;
  if (!s.filled) {
    s.grad = Tensor::empty(like.shape(), like.dtype(), like.device());
    s.filled = true;
    s.given = false;
    return {s.grad, 0};
  }
  if (s.given && !s.grad.unique()) s.grad = s.grad.clone();
  s.given = false;
  return {s.grad, 1};
}

void GradSink::give(const Tensor& gradient) {
  GradSlot& s = *slot_;
  if (!s.filled && !s.leaf) {
    s.grad = gradient;
    s.filled = s.given = true;
    return;
  }
  Target t = open(gradient);
  math::axpby(t.dst, 1, gradient, t.beta);
}

void Tape::backward(const Var& loss, double seed) {
  if (loss.value().numel() != 1)
    throw ShapeError(
        fmt::format("[backward] the loss must have one element; got {}", loss.shape().str()));
  if (!loss.slot())
    throw Error(
        "[backward] the loss was not recorded: no parameter leads to it, or no Recording lived");
  Tensor start = Tensor::empty(loss.shape(), loss.value().dtype(), loss.value().device());
  start.fill(seed);
  GradSink(loss.slot().get()).give(start);
  start = Tensor();
  while (!nodes_.empty()) {
    const std::unique_ptr<Node> node = std::move(nodes_.back());
    nodes_.pop_back();
    node->backward();
  }
}

Recording::Recording(Tape& tape) : previous_(std::exchange(active_tape, &tape)) {}
Recording::~Recording() { active_tape = previous_; }
Tape* Recording::active() { return active_tape; }

}  // namespace muonlab

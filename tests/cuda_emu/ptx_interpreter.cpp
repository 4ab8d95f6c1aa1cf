#include "tests/cuda_emu/ptx_interpreter.h"

#include <fmt/format.h>

namespace muonlab::ptx {

void Thread::run(const Function& entry, const std::byte* parameters, std::span<std::byte> stack,
                 const Place& place) {
  stack_ = stack;
  place_ = &place;
  frame_ = nullptr;
  carry = false;
  pending.clear();
  enter(entry, nullptr);
  if (!entry.parameters.empty()) {
    std::memcpy(variable(frame_, entry.parameters.front()), parameters, entry.parameter_bytes);
  }
  while (pc_) {
    const Instruction& i = *pc_++;
    if (i.guard >= 0 && get<bool>(i.guard) == i.guard_negated) continue;
    i.run(*this, i);
  }
}

void Thread::enter(const Function& function, const Instruction* call) {
  std::byte* base = frame_ ? frame_->end : stack_.data();
  // Junk, so that a local variable that is read before it is written shows.
  std::memset(base, 0xff, function.frame_bytes);
  auto* frame = reinterpret_cast<Frame*>(base);
  *frame = {&function, frame_, call, base + function.frame_bytes};
  frame_ = frame;
  registers_ = reinterpret_cast<std::uint64_t*>(base + kFrameHeader);
  pc_ = function.code.data();
  for (const Preset& preset : function.presets) {
    std::uint64_t& reg = registers_[preset.reg];
    switch (preset.kind) {
      case Preset::Kind::kValue:
        reg = preset.value;
        break;
      case Preset::Kind::kSpecial:
        reg = place_->special[preset.value];
        break;
      case Preset::Kind::kFrame:
        reg = reinterpret_cast<std::uintptr_t>(
            variable(frame, static_cast<std::int32_t>(preset.value)));
        break;
      case Preset::Kind::kShared:
        reg = module_.shared[preset.value].offset;
        break;
      case Preset::Kind::kDynamicShared:
        reg = place_->dynamic_shared;
        break;
      case Preset::Kind::kGlobal:
        reg = reinterpret_cast<std::uintptr_t>(module_.storage.get() +
                                               module_.global[preset.value].offset);
        break;
    }
  }
}

void Thread::call(const Instruction& i) {
  const Frame* caller = frame_;
  const Function& callee = module_.functions[static_cast<std::size_t>(i.callee)];
  if (i.arguments.size() != callee.parameters.size() || i.results.size() != callee.returns.size()) {
    world_.fail(simt::Fault::undefined,
                "a call whose arguments are not the parameters of the function", i);
  }
  enter(callee, &i);
  for (std::size_t k = 0; k < i.arguments.size(); ++k) {
    std::memcpy(variable(frame_, callee.parameters[k]), variable(caller, i.arguments[k]),
                callee.variables[static_cast<std::size_t>(callee.parameters[k])].bytes);
  }
}

void Thread::leave() {
  const Frame* left = frame_;
  frame_ = left->caller;
  if (!frame_) return end();
  const Function& callee = *left->function;
  for (std::size_t k = 0; k < callee.returns.size(); ++k) {
    std::memcpy(variable(frame_, left->call->results[k]), variable(left, callee.returns[k]),
                callee.variables[static_cast<std::size_t>(callee.returns[k])].bytes);
  }
  registers_ =
      reinterpret_cast<std::uint64_t*>(reinterpret_cast<std::byte*>(frame_) + kFrameHeader);
  pc_ = left->call + 1;
}

std::byte* Thread::touch(const Instruction& i, std::size_t operand, unsigned bytes, Touch kind) {
  return touch(i, i.space, address(i, operand), bytes, kind);
}
std::byte* Thread::touch(const Instruction& i, Space space, std::uint64_t address, unsigned bytes,
                         Touch kind) {
  auto* pointer = reinterpret_cast<std::byte*>(address);
  const auto inside = [&](std::span<const std::byte> memory) {
    const std::uint64_t offset = address - reinterpret_cast<std::uintptr_t>(memory.data());
    return offset < memory.size() && bytes <= memory.size() - offset;
  };
  const auto aligned = [&] {
    if (address % bytes != 0)
      world_.fail(simt::Fault::misaligned, fmt::format("an access of {} bytes", bytes), i);
    return pointer;
  };
  if (space == Space::kShared) {
    pointer = place_->shared + static_cast<std::uint32_t>(address);  // such addresses have 32 bits
  } else if (space == Space::kLocal || space == Space::kParam || space == Space::kGeneric) {
    if (inside(stack_)) return aligned();
    if (space != Space::kGeneric)
      world_.fail(simt::Fault::out_of_bounds, "an access beyond the thread's local memory", i);
  }
  if (space == Space::kConst || space == Space::kGlobal || space == Space::kGeneric) {
    if (inside({module_.storage.get(), module_.storage_bytes})) {
      if (kind != Touch::kRead)
        world_.fail(simt::Fault::undefined, "PTX mode knows no __device__ variables", i);
      return aligned();
    }
    if (space == Space::kConst)
      world_.fail(simt::Fault::out_of_bounds, "an access beyond the constants of the module", i);
  }
  world_.touch(kind, pointer, bytes, i);
  return pointer;
}

}  // namespace muonlab::ptx

#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <span>
#include <string>
#include <type_traits>

#include "tests/cuda_emu/control.h"
#include "tests/cuda_emu/ptx_module.h"
#include "tests/cuda_emu/ptx_number.h"

namespace muonlab::ptx {

/// Bytes in front of a frame's registers.
inline constexpr std::size_t kFrameHeader = 32;
/// Unused bytes before and behind a shared variable: an access beyond it is seen.
constexpr std::size_t shared_gap(std::size_t bytes) {
  return bytes < 64 ? 64 : bytes > 4096 ? 4096 : (bytes + 15) / 16 * 16;
}

enum class Touch : std::uint8_t { kRead, kWrite, kAtomic };
enum class BarrierKind : std::uint8_t { kSync, kAny, kAll, kCount };

/// Everything that a thread cannot do by itself. The emulator's scheduler and checker are behind it
/// (ptx_launch.cpp); the tests of single instructions have a World of their own.
class World {
 public:
  virtual ~World() = default;
  /// A thread is about to touch memory that is not its own. Returns only if it may.
  virtual void touch(Touch touch, const void* address, unsigned bytes, const Instruction&) = 0;
  /// What the predicates of all threads of the block make together, once they are all here.
  virtual int barrier(BarrierKind kind, bool predicate, const Instruction&) = 0;
  virtual void warp_barrier(std::uint32_t mask, const Instruction&) = 0;
  /// The value that `lane` of this warp brings, once all of the mask are here.
  virtual std::uint32_t shuffle(std::uint32_t mask, std::uint32_t value, int lane,
                                const Instruction&) = 0;
  /// The lanes whose predicate is true.
  virtual std::uint32_t ballot(std::uint32_t mask, bool predicate, const Instruction&) = 0;
  using Combine = void (*)(void* sum, const void* value);
  virtual std::uint32_t reduce(std::uint32_t mask, std::uint32_t value, Combine combine,
                               const Instruction&) = 0;
  /// The kernel does what it must not.
  [[noreturn]] virtual void fail(simt::Fault fault, const std::string& what,
                                 const Instruction&) = 0;
};

/// What the threads of a launch have in common, and where in it this thread is.
struct Place {
  std::array<std::uint32_t, static_cast<std::size_t>(Special::kCount)> special{};
  std::byte* shared = nullptr;       ///< offset 0 of the block's shared memory
  std::uint64_t dynamic_shared = 0;  ///< the offset of its dynamic part
};

/// One PTX thread: a program counter, a stack of frames, and the state that is not in registers.
class Thread {
 public:
  Thread(const Module& module, World& world) : module_(module), world_(world) {}

  /// Runs an entry from its first instruction to its end.
  /// parameters: packed as Function::parameter_bytes. stack: at least Function::stack_bytes,
  /// aligned to 16.
  void run(const Function& entry, const std::byte* parameters, std::span<std::byte> stack,
           const Place& place);

  // ---- For the handlers of instructions

  template <class T>
  T get(std::int32_t reg) const {
    const std::uint64_t bits = registers_[reg];
    if constexpr (std::is_same_v<T, bool>) {
      return bits & 1;
    } else {
      static_assert(std::endian::native == std::endian::little);
      T out;
      std::memcpy(&out, &bits, sizeof(T));
      return out;
    }
  }
  template <class T>
  T get(const Instruction& i, std::size_t operand) const {
    const Operand& o = i.operands[operand];
    if constexpr (std::is_same_v<T, bool>) return get<bool>(o.reg) != o.negated;
    return get<T>(o.reg);
  }
  /// A narrower value fills the register: by its sign if T has one, else by zeros.
  template <class T>
  void set(std::int32_t reg, T value) {
    if constexpr (std::is_integral_v<T>) {
      registers_[reg] = static_cast<std::uint64_t>(value);
    } else {
      std::uint64_t bits = 0;
      std::memcpy(&bits, &value, sizeof(T));
      registers_[reg] = bits;
    }
  }
  template <class T>
  void set(const Instruction& i, T value) {
    set(i.operands[0].reg, value);
  }

  /// The address of an operand in memory of the host, once it is known that the bytes may be
  /// touched.
  std::byte* touch(const Instruction& i, std::size_t operand, unsigned bytes, Touch kind);
  std::byte* touch(const Instruction& i, Space space, std::uint64_t address, unsigned bytes,
                   Touch kind);
  std::uint64_t address(const Instruction& i, std::size_t operand) const {
    const Operand& o = i.operands[operand];
    return registers_[o.reg] + static_cast<std::uint64_t>(o.offset);
  }
  std::byte* shared() const { return place_->shared; }

  void jump(std::int32_t instruction) { pc_ = frame_->function->code.data() + instruction; }
  void call(const Instruction& i);
  void leave();  ///< back to the caller; the thread ends if there is none
  void end() { pc_ = nullptr; }

  const Module& module() const { return module_; }
  World& world() { return world_; }
  int lane() const { return static_cast<int>(special(Special::kLaneid)); }

  bool carry = false;  ///< of add.cc and its like
  /// Copies of cp.async that have not arrived, each with the number of its group.
  struct PendingCopy {
    std::uint64_t group;
    std::uint64_t to;  ///< in shared memory
    std::array<std::byte, 16> bytes;
    unsigned size;
    const Instruction* instruction;
  };
  std::deque<PendingCopy> pending;
  std::uint64_t group = 0;  ///< the one that is being filled

 private:
  struct Frame {
    const Function* function;
    Frame* caller;
    const Instruction* call;
    std::byte* end;
  };
  static_assert(sizeof(Frame) <= kFrameHeader);

  void enter(const Function& function, const Instruction* call);
  std::byte* variable(const Frame* frame, std::int32_t number) const {
    const auto index = static_cast<std::size_t>(number);
    return reinterpret_cast<std::byte*>(const_cast<Frame*>(frame)) +
           frame->function->variables[index].offset;
  }
  std::uint32_t special(Special which) const {
    return place_->special[static_cast<std::size_t>(which)];
  }

  const Module& module_;
  World& world_;
  std::uint64_t* registers_ = nullptr;
  const Instruction* pc_ = nullptr;
  Frame* frame_ = nullptr;
  std::span<std::byte> stack_;
  const Place* place_ = nullptr;
};

}  // namespace muonlab::ptx

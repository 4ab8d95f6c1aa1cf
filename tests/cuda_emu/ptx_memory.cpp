// Loads, stores, atomics and asynchronous copies. Semantics: NVIDIA, "Parallel Thread Execution
// ISA", chapter 9, "Data Movement and Conversion" and "Parallel Synchronization".
#include <algorithm>
#include <cmath>

#include "tests/cuda_emu/ptx_handlers.h"

namespace muonlab::ptx {
namespace {

/// The registers of an operand, be it one or a vector.
struct Registers {
  const std::int32_t* first;
  std::int32_t count;
};
Registers registers_of(const Instruction& i, std::size_t operand) {
  const Operand& o = i.operands[operand];
  if (o.kind != Operand::Kind::kVector) return {&o.reg, 1};
  return {i.elements.data() + o.reg, o.second};
}

template <class T>
void load(Thread& t, const Instruction& i) {
  const Registers to = registers_of(i, 0);
  const std::byte* from = t.touch(i, 1, static_cast<unsigned>(sizeof(T)) * i.vector, Touch::kRead);
  for (std::int32_t k = 0; k < to.count; ++k) {
    T value;
    std::memcpy(&value, from + sizeof(T) * static_cast<std::size_t>(k), sizeof(T));
    t.set(to.first[k], value);
  }
}
template <class T>
void store(Thread& t, const Instruction& i) {
  const Registers from = registers_of(i, 1);
  std::byte* to = t.touch(i, 0, static_cast<unsigned>(sizeof(T)) * i.vector, Touch::kWrite);
  for (std::int32_t k = 0; k < from.count; ++k) {
    const T value = t.get<T>(from.first[k]);
    std::memcpy(to + sizeof(T) * static_cast<std::size_t>(k), &value, sizeof(T));
  }
}
/// The operand holds as many registers as the instruction says, at most 16 bytes together.
bool fits(const Instruction& i, std::size_t operand) {
  return registers_of(i, operand).count == i.vector && bytes_of(i.type) * i.vector <= 16;
}
Handler choose_load(const Instruction& i) {
  if (!fits(i, 0)) return nullptr;
  return with_type(i.type, []<class T>(std::type_identity<T>) -> Handler {
    if constexpr (!std::is_same_v<T, bool> && !std::is_same_v<T, Tf32>) return &load<T>;
    return nullptr;
  });
}
Handler choose_store(const Instruction& i) {
  if (!fits(i, 1) || i.space == Space::kConst) return nullptr;
  return with_type(i.type, []<class T>(std::type_identity<T>) -> Handler {
    if constexpr (!std::is_same_v<T, bool> && !std::is_same_v<T, Tf32>) return &store<T>;
    return nullptr;
  });
}
void nothing(Thread&, const Instruction&) {}

// ---- Atomics: the new value from the old one

template <class T>
T sum(T a, T b) {
  if constexpr (Integer<T>) {
    return static_cast<T>(static_cast<std::uint64_t>(a) + static_cast<std::uint64_t>(b));
  } else if constexpr (Binary<T>) {
    return a + b;
  } else if constexpr (kIsPacked<T>) {
    return {sum(a.low, b.low), sum(a.high, b.high)};
  } else {
    return narrow<T>(add_to_odd(widen(a), widen(b)), Rounding::kNearestEven);
  }
}
struct AtomicAdd {
  template <class T>
  static T apply(T old, T b) {
    return sum(old, b);
  }
};
struct AtomicMin {
  template <Integer T>
  static T apply(T old, T b) {
    return std::min(old, b);
  }
};
struct AtomicMax {
  template <Integer T>
  static T apply(T old, T b) {
    return std::max(old, b);
  }
};
struct AtomicAnd {
  template <Integer T>
  static T apply(T old, T b) {
    return old & b;
  }
};
struct AtomicOr {
  template <Integer T>
  static T apply(T old, T b) {
    return old | b;
  }
};
struct AtomicXor {
  template <Integer T>
  static T apply(T old, T b) {
    return old ^ b;
  }
};
struct AtomicExchange {
  template <Integer T>
  static T apply(T, T b) {
    return b;
  }
};
struct AtomicIncrement {
  template <std::same_as<std::uint32_t> T>
  static T apply(T old, T b) {
    return old >= b ? 0 : old + 1;
  }
};
struct AtomicDecrement {
  template <std::same_as<std::uint32_t> T>
  static T apply(T old, T b) {
    return old == 0 || old > b ? b : old - 1;
  }
};
struct AtomicCompareAndSwap {
  template <Integer T>
  static T apply(T old, T b, T c) {
    return old == b ? c : old;
  }
};

/// atom: d = old value. red has no d: kResult is false.
template <class Op, class T, bool kResult>
void update(Thread& t, const Instruction& i) {
  constexpr std::size_t kAddress = kResult ? 1 : 0;
  std::byte* where = t.touch(i, kAddress, sizeof(T), Touch::kAtomic);
  T old, next;
  std::memcpy(&old, where, sizeof(T));
  if constexpr (std::is_same_v<Op, AtomicCompareAndSwap>) {
    next = Op::apply(old, t.get<T>(i, kAddress + 1), t.get<T>(i, kAddress + 2));
  } else {
    next = Op::apply(old, t.get<T>(i, kAddress + 1));
  }
  std::memcpy(where, &next, sizeof(T));
  if constexpr (kResult) t.set(i, old);
}
template <class Op, bool kResult>
Handler choose_update_of(const Instruction& i) {
  return with_type(i.type, []<class T>(std::type_identity<T>) -> Handler {
    constexpr bool kSwap = std::is_same_v<Op, AtomicCompareAndSwap>;
    if constexpr (sizeof(T) >= 4 && !std::is_same_v<T, Tf32>) {
      if constexpr (kSwap && requires(T x) { Op::apply(x, x, x); }) return &update<Op, T, kResult>;
      if constexpr (!kSwap && requires(T x) { Op::apply(x, x); }) return &update<Op, T, kResult>;
    }
    return nullptr;
  });
}
template <bool kResult>
Handler choose_update(const Instruction& i) {
  const bool swap = i.variant == "cas";
  const std::size_t sources = swap ? 2 : 1;
  if (i.operands.size() != 1 + kResult + sources) return nullptr;
  if (i.space != Space::kGeneric && i.space != Space::kGlobal && i.space != Space::kShared) {
    return nullptr;
  }
  if (swap) return choose_update_of<AtomicCompareAndSwap, kResult>(i);
  if (i.variant == "add") return choose_update_of<AtomicAdd, kResult>(i);
  if (i.variant == "min") return choose_update_of<AtomicMin, kResult>(i);
  if (i.variant == "max") return choose_update_of<AtomicMax, kResult>(i);
  if (i.variant == "and") return choose_update_of<AtomicAnd, kResult>(i);
  if (i.variant == "or") return choose_update_of<AtomicOr, kResult>(i);
  if (i.variant == "xor") return choose_update_of<AtomicXor, kResult>(i);
  if (i.variant == "exch") return choose_update_of<AtomicExchange, kResult>(i);
  if (i.variant == "inc") return choose_update_of<AtomicIncrement, kResult>(i);
  return choose_update_of<AtomicDecrement, kResult>(i);
}

// ---- cp.async: the bytes are read at once, and written when somebody waits for their group

void copy_async(Thread& t, const Instruction& i) {
  const auto size = t.get<std::uint32_t>(i, 2);
  const auto given = i.operands.size() == 4 ? t.get<std::uint32_t>(i, 3) : size;
  if ((size != 4 && size != 8 && size != 16) || given > size) {
    t.world().fail(simt::Fault::undefined, "cp.async copies 4, 8 or 16 bytes", i);
  }
  Thread::PendingCopy copy{t.group, t.address(i, 0), {}, size, &i};
  if (given > 0) {
    std::memcpy(copy.bytes.data(), t.touch(i, Space::kGlobal, t.address(i, 1), given, Touch::kRead),
                given);
  }
  t.pending.push_back(copy);
}
void arrive(Thread& t, std::uint64_t before_group) {
  while (!t.pending.empty() && t.pending.front().group < before_group) {
    const Thread::PendingCopy copy = t.pending.front();
    t.pending.pop_front();
    std::memcpy(t.touch(*copy.instruction, Space::kShared, copy.to, copy.size, Touch::kWrite),
                copy.bytes.data(), copy.size);
  }
}
void commit_group(Thread& t, const Instruction&) { ++t.group; }
/// Until at most so many of the latest groups are on their way.
void wait_group(Thread& t, const Instruction& i) {
  const auto allowed = t.get<std::uint32_t>(i, 0);
  if (t.group > allowed) arrive(t, t.group - allowed);
}
void wait_all(Thread& t, const Instruction& i) {
  commit_group(t, i);
  arrive(t, t.group);
}

template <Handler kHandler>
Handler always(const Instruction&) {
  return kHandler;
}

constexpr Opcode kTable[] = {
    {"ld", "*order ?space *order ?vector type", "d @", choose_load},
    {"st", "*order ?space *order ?vector type", "@ a", choose_store},
    {"atom", "*order ?space atomic ?noftz type", "d @ a ?a", choose_update<true>},
    {"red", "*order ?space atomic ?noftz type", "@ a ?a", choose_update<false>},
    {"prefetch.global.L1", "", "@", always<nothing>},
    {"prefetch.global.L2", "", "@", always<nothing>},
    {"cp.async.ca.shared.global", "*order", "@ @ a ?a", always<copy_async>},
    {"cp.async.cg.shared.global", "*order", "@ @ a ?a", always<copy_async>},
    {"cp.async.commit_group", "", "", always<commit_group>},
    {"cp.async.wait_group", "", "a", always<wait_group>},
    {"cp.async.wait_all", "", "", always<wait_all>},
};

}  // namespace

std::span<const Opcode> memory_opcodes() { return kTable; }

}  // namespace muonlab::ptx

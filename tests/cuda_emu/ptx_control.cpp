// Branches, calls, barriers and the operations of a warp. Semantics: NVIDIA, "Parallel Thread
// Execution ISA", chapter 9, "Control Flow" and "Parallel Synchronization".
#include <algorithm>
#include <bit>

#include "tests/cuda_emu/ptx_handlers.h"

namespace muonlab::ptx {
namespace {

void branch(Thread& t, const Instruction& i) { t.jump(i.targets[0]); }
void branch_by_index(Thread& t, const Instruction& i) {
  const auto index = t.get<std::uint32_t>(i, 0);
  if (index >= i.targets.size())
    t.world().fail(simt::Fault::undefined, "a branch beyond its list of targets", i);
  t.jump(i.targets[index]);
}
void call(Thread& t, const Instruction& i) { t.call(i); }
void leave(Thread& t, const Instruction&) { t.leave(); }
void end(Thread& t, const Instruction&) { t.end(); }
void trap(Thread& t, const Instruction& i) {
  t.world().fail(simt::Fault::undefined, "the kernel trapped", i);
}
void nothing(Thread&, const Instruction&) {}

// ---- The block

template <std::size_t kBarrier>
void check_barrier(Thread& t, const Instruction& i) {
  if (t.get<std::uint32_t>(i, kBarrier) != 0)
    t.world().fail(simt::Fault::undefined, "PTX mode knows barrier 0 only", i);
}
void barrier(Thread& t, const Instruction& i) {
  check_barrier<0>(t, i);
  t.world().barrier(BarrierKind::kSync, false, i);
}
template <BarrierKind kKind>
void barrier_reduction(Thread& t, const Instruction& i) {
  check_barrier<1>(t, i);
  t.set(i, static_cast<std::uint32_t>(t.world().barrier(kKind, t.get<bool>(i, 2), i)));
}
Handler choose_barrier(const Instruction& i) {
  return i.operands.size() == 1 ? &barrier : nullptr;  // two: for some threads only
}
Handler choose_barrier_reduction(const Instruction& i) {
  if (i.operands.size() != 3) return nullptr;
  if (i.variant == "popc") {
    return i.type == Type::kU32 ? &barrier_reduction<BarrierKind::kCount> : nullptr;
  }
  if (i.type != Type::kPred) return nullptr;
  return i.variant == "and" ? &barrier_reduction<BarrierKind::kAll>
                            : &barrier_reduction<BarrierKind::kAny>;
}

// ---- The warp

void warp_barrier(Thread& t, const Instruction& i) {
  t.world().warp_barrier(t.get<std::uint32_t>(i, 0), i);
}

enum class Shuffle : std::uint8_t { kUp, kDown, kBfly, kIdx };
/// shfl d|p, a, b, c, mask. c: a mask that cuts the warp into segments (bits 8 to 12), and a clamp
/// (bits 0 to 4) that, inside a segment, the source lane must not pass.
template <Shuffle kShuffle>
void shuffle(Thread& t, const Instruction& i) {
  const auto b = t.get<std::int32_t>(i, 2) & 31;
  const auto c = t.get<std::int32_t>(i, 3);
  const int segment = c >> 8 & 31, clamp = c & 31, lane = t.lane();
  if (!std::has_single_bit(32u - static_cast<unsigned>(segment))) {
    t.world().fail(simt::Fault::warp_operation, "a shuffle whose width is no power of two", i);
  }
  const int last = (lane & segment) | (clamp & ~segment), first = lane & segment;
  int from = 0;
  bool in_range = false;
  switch (kShuffle) {
    case Shuffle::kUp:
      in_range = (from = lane - b) >= last;
      break;
    case Shuffle::kDown:
      in_range = (from = lane + b) <= last;
      break;
    case Shuffle::kBfly:
      in_range = (from = lane ^ b) <= last;
      break;
    case Shuffle::kIdx:
      in_range = (from = first | (b & ~segment)) <= last;
      break;
  }
  if (!in_range) from = lane;
  t.set(i, t.world().shuffle(t.get<std::uint32_t>(i, 4), t.get<std::uint32_t>(i, 1), from, i));
  if (i.operands[0].second >= 0) t.set(i.operands[0].second, in_range);
}
Handler choose_shuffle(const Instruction& i) {
  if (i.type != Type::kB32) return nullptr;
  if (i.variant == "up") return &shuffle<Shuffle::kUp>;
  if (i.variant == "down") return &shuffle<Shuffle::kDown>;
  return i.variant == "bfly" ? &shuffle<Shuffle::kBfly> : &shuffle<Shuffle::kIdx>;
}

std::uint32_t ballot(Thread& t, const Instruction& i, bool predicate, std::size_t mask) {
  return t.world().ballot(t.get<std::uint32_t>(i, mask), predicate, i);
}
void vote_ballot(Thread& t, const Instruction& i) { t.set(i, ballot(t, i, t.get<bool>(i, 1), 2)); }
void vote_any(Thread& t, const Instruction& i) {
  t.set(i, ballot(t, i, t.get<bool>(i, 1), 2) != 0);
}
void vote_all(Thread& t, const Instruction& i) {
  t.set(i, ballot(t, i, !t.get<bool>(i, 1), 2) == 0);
}
/// The same in all lanes.
void vote_uniform(Thread& t, const Instruction& i) {
  const bool mine = t.get<bool>(i, 1);
  const bool others = ballot(t, i, mine, 2) == 0, same = ballot(t, i, !mine, 2) == 0;
  t.set(i, mine ? same : others);
}
Handler choose_vote(const Instruction& i) {
  if ((i.variant == "ballot") != (i.type == Type::kB32)) return nullptr;
  if (i.variant == "ballot") return &vote_ballot;
  if (i.variant == "any") return &vote_any;
  return i.variant == "all" ? &vote_all : &vote_uniform;
}

/// The lanes of the mask that have this lane's value: bit by bit those whose bit is the same.
template <class T>
std::uint32_t lanes_alike(Thread& t, const Instruction& i) {
  const T value = t.get<T>(i, 1);
  auto alike = t.get<std::uint32_t>(i, 2);
  for (std::size_t k = 0; k < 8 * sizeof(T); ++k) {
    const bool bit = value >> k & 1;
    const std::uint32_t lanes = ballot(t, i, bit, 2);
    alike &= bit ? lanes : ~lanes;
  }
  return alike;
}
template <class T>
void match_any(Thread& t, const Instruction& i) {
  t.set(i, lanes_alike<T>(t, i));
}
/// The whole mask if all have the same value, else 0.
template <class T>
void match_all(Thread& t, const Instruction& i) {
  const bool all = lanes_alike<T>(t, i) == t.get<std::uint32_t>(i, 2);
  t.set(i, all ? t.get<std::uint32_t>(i, 2) : 0u);
  if (i.operands[0].second >= 0) t.set(i.operands[0].second, all);
}
Handler choose_match_any(const Instruction& i) {
  if (i.type == Type::kB32) return &match_any<std::uint32_t>;
  return i.type == Type::kB64 ? &match_any<std::uint64_t> : nullptr;
}
Handler choose_match_all(const Instruction& i) {
  if (i.type == Type::kB32) return &match_all<std::uint32_t>;
  return i.type == Type::kB64 ? &match_all<std::uint64_t> : nullptr;
}

template <class T, auto kCombine>
void reduce(Thread& t, const Instruction& i) {
  const World::Combine combine = [](void* sum, const void* value) {
    T a, b;
    std::memcpy(&a, sum, sizeof(T));
    std::memcpy(&b, value, sizeof(T));
    a = kCombine(a, b);
    std::memcpy(sum, &a, sizeof(T));
  };
  t.set(i, t.world().reduce(t.get<std::uint32_t>(i, 2), t.get<std::uint32_t>(i, 1), combine, i));
}
constexpr auto kLeast = [](auto a, auto b) { return std::min(a, b); };
constexpr auto kGreatest = [](auto a, auto b) { return std::max(a, b); };
Handler choose_reduce(const Instruction& i) {
  using U = std::uint32_t;
  if (i.type != Type::kU32 && i.type != Type::kS32 && i.type != Type::kB32) return nullptr;
  const bool bitwise = i.variant == "and" || i.variant == "or" || i.variant == "xor";
  if (bitwise != (i.type == Type::kB32)) return nullptr;
  if (i.variant == "and") return &reduce<U, [](U a, U b) -> U { return a & b; }>;
  if (i.variant == "or") return &reduce<U, [](U a, U b) -> U { return a | b; }>;
  if (i.variant == "xor") return &reduce<U, [](U a, U b) -> U { return a ^ b; }>;
  if (i.variant == "add") return &reduce<U, [](U a, U b) -> U { return a + b; }>;
  if (i.type == Type::kS32) {
    return i.variant == "min" ? &reduce<std::int32_t, kLeast> : &reduce<std::int32_t, kGreatest>;
  }
  return i.variant == "min" ? &reduce<U, kLeast> : &reduce<U, kGreatest>;
}

template <Handler kHandler>
Handler always(const Instruction&) {
  return kHandler;
}

constexpr Opcode kTable[] = {
    {"bra", "?uniform", "L", always<branch>},
    {"brx.idx", "?uniform", "a T", always<branch_by_index>},
    {"call", "?uniform", "C", always<call>},
    {"ret", "?uniform", "", always<leave>},
    {"exit", "", "", always<end>},
    {"trap", "", "", always<trap>},
    {"bar.sync", "?aligned", "a ?a", choose_barrier},
    {"bar.cta.sync", "?aligned", "a ?a", choose_barrier},
    {"barrier.sync", "?aligned", "a ?a", choose_barrier},
    {"barrier.cta.sync", "?aligned", "a ?a", choose_barrier},
    {"bar.red", "ballot ?aligned type", "d a a ?a", choose_barrier_reduction},
    {"bar.cta.red", "ballot ?aligned type", "d a a ?a", choose_barrier_reduction},
    {"barrier.red", "ballot ?aligned type", "d a a ?a", choose_barrier_reduction},
    {"barrier.cta.red", "ballot ?aligned type", "d a a ?a", choose_barrier_reduction},
    {"bar.warp.sync", "", "a", always<warp_barrier>},
    {"membar", "order", "", always<nothing>},
    {"fence", "*order", "", always<nothing>},
    {"shfl.sync", "shuffle type", "p a a a a", choose_shuffle},
    {"vote.sync", "vote type", "d a a", choose_vote},
    {"match.any.sync", "type", "d a a", choose_match_any},
    {"match.all.sync", "type", "p a a", choose_match_all},
    {"redux.sync", "reduction type", "d a a", choose_reduce},
};

}  // namespace

std::span<const Opcode> control_opcodes() { return kTable; }

}  // namespace muonlab::ptx

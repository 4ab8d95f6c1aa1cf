#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/cuda_emu/ptx_interpreter.h"
#include "tests/cuda_emu/ptx_parser.h"

// Running a few PTX instructions in one thread, without the emulator's scheduler and checker.
namespace muonlab::ptx {

/// What World::fail throws here.
struct KernelFailure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// A world in which a test says what the other threads do.
class ScriptedWorld : public World {
 public:
  /// The values and predicates that the other lanes bring to an operation of the warp.
  std::array<std::uint32_t, 32> lanes{};
  /// More of these than operations: the last ones count for all that follow.
  std::vector<std::uint32_t> ballots{0};
  int barrier_result = 0;
  simt::Fault failure{};
  int lane = 0;

  struct Access {
    Touch touch;
    std::uintptr_t address;
    unsigned bytes;
    bool operator==(const Access&) const = default;
  };
  std::vector<Access> accesses;
  struct Barrier {
    BarrierKind kind;
    bool predicate;
    bool operator==(const Barrier&) const = default;
  };
  std::vector<Barrier> barriers;
  std::vector<std::uint32_t> masks;  ///< of the operations of the warp

  void touch(Touch touch, const void* address, unsigned bytes, const Instruction&) override {
    accesses.push_back({touch, reinterpret_cast<std::uintptr_t>(address), bytes});
  }
  int barrier(BarrierKind kind, bool predicate, const Instruction&) override {
    barriers.push_back({kind, predicate});
    return barrier_result;
  }
  void warp_barrier(std::uint32_t mask, const Instruction&) override { masks.push_back(mask); }
  std::uint32_t shuffle(std::uint32_t mask, std::uint32_t value, int from,
                        const Instruction&) override {
    masks.push_back(mask);
    return from == lane ? value : lanes[static_cast<std::size_t>(from)];
  }
  std::uint32_t ballot(std::uint32_t mask, bool predicate, const Instruction&) override {
    masks.push_back(mask);
    const std::uint32_t others = ballots.front(), mine = 1u << lane;
    if (ballots.size() > 1) ballots.erase(ballots.begin());
    return (predicate ? others | mine : others & ~mine) & mask;
  }
  std::uint32_t reduce(std::uint32_t mask, std::uint32_t value, Combine combine,
                       const Instruction&) override {
    masks.push_back(mask);
    for (int k = 0; k < 32; ++k) {
      if (k != lane && mask >> k & 1) combine(&value, &lanes[static_cast<std::size_t>(k)]);
    }
    return value;
  }
  [[noreturn]] void fail(simt::Fault fault, const std::string& what,
                         const Instruction& i) override {
    failure = fault;
    throw KernelFailure(what + ": " + i.text);
  }
};

/// Runs `code` with input k, from 1 on, in %h<k>, %r<k> and %d<k> (16, 32 and 64 bits) and, as
/// "is not 0", in %p<k>. Returns what it left in the register number 0 that it names first.
/// Inside, [%d8] is memory of 64 bytes: `memory`, and [tile] 64 bytes of shared memory: `shared`.
struct Snippet {
  ScriptedWorld world;
  alignas(16) std::array<std::byte, 64> memory{};
  alignas(16) std::array<std::byte, 256> shared{};
  std::uint64_t run(const std::string& code, const std::vector<std::uint64_t>& inputs = {},
                    const std::string& outside = "");
};

inline std::uint64_t evaluate(const std::string& code,
                              const std::vector<std::uint64_t>& inputs = {}) {
  return Snippet{}.run(code, inputs);
}

/// One row of a table of tests: instructions, inputs, what register 0 must hold.
struct Case {
  std::string code;
  std::vector<std::uint64_t> inputs;
  std::uint64_t expected;
};
/// Fails the running test for each row that gives something else.
void check_cases(const std::vector<Case>& cases);

// The bits of a number.
inline std::uint64_t f(float x) { return std::bit_cast<std::uint32_t>(x); }
inline std::uint64_t d(double x) { return std::bit_cast<std::uint64_t>(x); }
/// A signed number in so many bits.
inline std::uint64_t s8(int x) { return static_cast<std::uint8_t>(x); }
inline std::uint64_t s16(int x) { return static_cast<std::uint16_t>(x); }
inline std::uint64_t s32(int x) { return static_cast<std::uint32_t>(x); }
inline std::uint64_t s64(std::int64_t x) { return static_cast<std::uint64_t>(x); }

inline constexpr std::uint64_t kNan = 0x7fffffff;  ///< the NaN of f32 that PTX makes
inline constexpr std::uint64_t kInfinity = 0x7f800000;
inline constexpr std::uint64_t kMinusZero = 0x80000000;

}  // namespace muonlab::ptx

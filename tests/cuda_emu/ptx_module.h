#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

// A PTX text after parsing. Register numbers, frame offsets and branch targets are resolved, so
// that the interpreter never looks up a name.
//
// Literals, special registers (%tid.x) and addresses of variables are registers too, which a thread
// finds filled in: an operand is always one load from the register file.
namespace muonlab::ptx {

class Thread;
struct Instruction;
/// Executes one instruction of one thread.
using Handler = void (*)(Thread&, const Instruction&);

enum class Type : std::uint8_t {
  kNone,
  kPred,
  kB8,
  kB16,
  kB32,
  kB64,
  kU8,
  kU16,
  kU32,
  kU64,
  kS8,
  kS16,
  kS32,
  kS64,
  kF16,
  kBf16,
  kTf32,
  kF32,
  kF64,
  kU16x2,
  kS16x2,
  kF16x2,
  kBf16x2,
};
/// Type of that name ("s32"), kNone if PTX mode knows none.
Type type_named(std::string_view name);
unsigned bytes_of(Type type);

enum class Space : std::uint8_t { kGeneric, kGlobal, kShared, kLocal, kParam, kConst };

/// The letter of .rn, .rz, .rm, .rp, .rna and of their integral forms .rni, .rzi, .rmi, .rpi.
enum class Rounding : std::uint8_t { kNearestEven, kZero, kDown, kUp, kNearestAway };

struct Operand {
  enum class Kind : std::uint8_t {
    kRegister,  ///< `reg`; for d|p also `second`
    kVector,    ///< `second` registers, numbered from Instruction::elements[reg] on
    kAddress,   ///< the value of `reg` plus `offset`
  };
  Kind kind = Kind::kRegister;
  bool negated = false;  ///< !p
  std::int32_t reg = -1, second = -1;
  std::int64_t offset = 0;
};

/// A line of the program that was compiled, {0, 0} without -lineinfo.
struct SourceLine {
  int file = 0, line = 0;
  auto operator<=>(const SourceLine&) const = default;
};

struct Instruction {
  Handler run = nullptr;
  std::int32_t guard = -1;  ///< the predicate register of @p, or none
  bool guard_negated = false;

  Type type = Type::kNone, source_type = Type::kNone;  ///< the first and the second type
  Space space = Space::kGeneric;
  Rounding rounding = Rounding::kNearestEven;
  std::uint8_t vector = 1;
  bool rounds = false;  ///< has one of the modifiers of Rounding
  bool ftz = false, sat = false, relu = false, satfinite = false, propagate_nan = false;
  bool carry_out = false, to_space = false, shift_amount = false;
  std::string variant, combine;  ///< "lo" of mul.lo; "lt" and "and" of setp.lt.and

  std::vector<Operand> operands;
  std::vector<std::int32_t> elements;            ///< registers of the vectors among the operands
  std::vector<std::int32_t> targets;             ///< instruction numbers of a branch
  std::int32_t callee = -1;                      ///< function number of a call
  std::vector<std::int32_t> arguments, results;  ///< of a call: variables of the caller's frame

  int ptx_line = 0;
  SourceLine source;  ///< the innermost line that is not in a header of the toolkit
  std::string text;
};

struct Variable {
  std::string name;
  Space space = Space::kGlobal;
  std::size_t align = 1, bytes = 0;
  std::size_t offset = 0;  ///< in the frame, the block's shared memory, or Module::storage
};

/// Where a register gets its value from when a frame is set up.
struct Preset {
  enum class Kind : std::uint8_t {
    kValue,          ///< `value` itself
    kSpecial,        ///< the special register of that number
    kFrame,          ///< the address of variable `value` of the function
    kShared,         ///< the address of variable `value` of Module::shared
    kDynamicShared,  ///< the address of the dynamic shared memory
    kGlobal,         ///< the address of variable `value` of Module::global
  };
  Kind kind = Kind::kValue;
  std::int32_t reg = -1;
  std::uint64_t value = 0;
};

/// Special registers, in the order of kSpecialNames.
enum class Special : std::uint8_t {
  kTidX,
  kTidY,
  kTidZ,
  kNtidX,
  kNtidY,
  kNtidZ,
  kCtaidX,
  kCtaidY,
  kCtaidZ,
  kNctaidX,
  kNctaidY,
  kNctaidZ,
  kLaneid,
  kCount
};

struct Function {
  std::string name;
  bool entry = false, defined = false;
  int ptx_line = 0;
  unsigned max_threads = 0;  ///< .maxntid or .reqntid; 0: none
  std::vector<Instruction> code;
  /// Param and local ones: first what it returns, then its parameters.
  std::vector<Variable> variables;
  std::vector<std::int32_t> parameters, returns;
  /// Numbers in Module::shared of those that it or a function called from it names.
  std::vector<std::int32_t> shared;
  std::int32_t register_count = 0;
  std::vector<Preset> presets;
  std::size_t frame_bytes = 0;      ///< registers, then variables
  std::size_t parameter_bytes = 0;  ///< of an entry: packed as cuLaunchKernel packs them
  std::size_t stack_bytes = 0;      ///< of its frame and of the deepest calls from it
};

struct Module {
  std::string path;  ///< for messages
  std::vector<Function> functions;
  std::map<std::string, std::int32_t, std::less<>> function_numbers;
  std::vector<Variable> shared;          ///< static ones, of the module and of its functions
  std::vector<Variable> global;          ///< global and const ones
  std::unique_ptr<std::byte[]> storage;  ///< of global and const variables
  std::size_t storage_bytes = 0;
  std::map<int, std::string> files;  ///< those that were compiled, by the number in SourceLine

  /// "kernels.ptx:120: add.s32 %r1, %r2, 1;"
  std::string describe(const Instruction& instruction) const;
};

}  // namespace muonlab::ptx

#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tests/cuda_emu/ptx_module.h"

namespace muonlab::ptx {

/// One row of the table of instructions.
struct Opcode {
  /// All words that never vary: "add", "bar.sync".
  std::string_view name;
  /// The other words in their order, by what they may be ("?ftz type"); ? before what may be
  /// absent,
  /// * before what may come any number of times. `match_modifiers` has the list.
  std::string_view modifiers;
  /// d destination, p destination of a predicate beside it (d|p), a source, @ address, L label,
  /// T list of labels, C the operands of a call; ? before those that may be absent.
  std::string_view operands;
  /// The handler for these modifiers and operands; null if that combination is not known.
  Handler (*choose)(const Instruction&);
};

std::span<const Opcode> arithmetic_opcodes();
std::span<const Opcode> conversion_opcodes();
std::span<const Opcode> memory_opcodes();
std::span<const Opcode> control_opcodes();

/// The row of the longest name that `words` ("add", "ftz", "f32") begin with, null if none does;
/// `used` is the number of words of that name.
const Opcode* find_opcode(const std::vector<std::string>& words, std::size_t& used);
/// Fills the instruction's fields from the words behind the name; false if they do not fit the row.
bool match_modifiers(const Opcode& opcode, std::span<const std::string> words, Instruction& out);

}  // namespace muonlab::ptx

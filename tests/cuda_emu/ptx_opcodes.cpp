#include "tests/cuda_emu/ptx_opcodes.h"

#include <algorithm>
#include <array>
#include <unordered_map>
#include <utility>

namespace muonlab::ptx {
namespace {

bool listed(std::string_view list, std::string_view word) {
  for (std::size_t begin = 0; begin < list.size();) {
    const std::size_t end = std::min(list.find(' ', begin), list.size());
    if (list.substr(begin, end - begin) == word) return true;
    begin = end + 1;
  }
  return false;
}

// Words that choose between variants of an instruction.
struct Choice {
  std::string_view slot, words;
  std::string Instruction::*field;
};
constexpr std::array kChoices{
    Choice{"part", "lo hi wide", &Instruction::variant},
    Choice{"compare", "eq ne lt le gt ge lo ls hi hs equ neu ltu leu gtu geu num nan",
           &Instruction::variant},
    Choice{"boolean", "and or xor", &Instruction::combine},
    Choice{"atomic", "add min max and or xor exch cas inc dec", &Instruction::variant},
    Choice{"reduction", "add min max and or xor", &Instruction::variant},
    Choice{"ballot", "popc and or", &Instruction::variant},
    Choice{"bytes", "f4e b4e rc8 ecl ecr rc16", &Instruction::variant},
    Choice{"direction", "l r", &Instruction::variant},
    Choice{"limit", "wrap clamp", &Instruction::combine},
    Choice{"shuffle", "up down bfly idx", &Instruction::variant},
    Choice{"vote", "all any uni ballot", &Instruction::variant},
    Choice{"test", "finite infinite number notanumber normal subnormal", &Instruction::variant},
};

// Words that switch something on.
struct Flag {
  std::string_view word;
  bool Instruction::*field;
};
constexpr std::array kFlags{
    Flag{"ftz", &Instruction::ftz},           Flag{"sat", &Instruction::sat},
    Flag{"relu", &Instruction::relu},         Flag{"satfinite", &Instruction::satfinite},
    Flag{"NaN", &Instruction::propagate_nan}, Flag{"cc", &Instruction::carry_out},
    Flag{"to", &Instruction::to_space},       Flag{"shiftamt", &Instruction::shift_amount},
};

// Words without a meaning here: caches do not exist, memory is sequentially consistent, approximate
// instructions are exact, and the scheduler itself sees divergence.
struct Ignored {
  std::string_view slot, words;
};
constexpr std::array kIgnored{
    Ignored{
        "order",
        "weak volatile relaxed acquire release acq_rel sc cta gpu gl sys nc ca cg cs lu cv wb wt "
        "L1::evict_normal L1::evict_unchanged L1::evict_first L1::evict_last L1::no_allocate "
        "L2::64B L2::128B L2::256B"},
    Ignored{"approx", "approx full"},
    Ignored{"uniform", "uni"},
    Ignored{"aligned", "aligned"},
    Ignored{"noftz", "noftz"},
};

constexpr std::array<std::pair<std::string_view, Rounding>, 9> kRoundings{{
    {"rn", Rounding::kNearestEven},
    {"rz", Rounding::kZero},
    {"rm", Rounding::kDown},
    {"rp", Rounding::kUp},
    {"rna", Rounding::kNearestAway},
    {"rni", Rounding::kNearestEven},
    {"rzi", Rounding::kZero},
    {"rmi", Rounding::kDown},
    {"rpi", Rounding::kUp},
}};

constexpr std::array<std::pair<std::string_view, Space>, 8> kSpaces{{
    {"global", Space::kGlobal},
    {"shared", Space::kShared},
    {"shared::cta", Space::kShared},
    {"local", Space::kLocal},
    {"param", Space::kParam},
    {"param::entry", Space::kParam},
    {"param::func", Space::kParam},
    {"const", Space::kConst},
}};

template <class Table, class Value>
bool pick(const Table& table, std::string_view word, Value& out) {
  for (const auto& [name, value] : table) {
    if (name != word) continue;
    out = value;
    return true;
  }
  return false;
}

/// Whether the word may stand in this slot; if so it is noted in the instruction.
bool fill(std::string_view slot, std::string_view word, Instruction& out) {
  if (slot == "type" || slot == "type2") {
    const Type type = type_named(word);
    (slot == "type" ? out.type : out.source_type) = type;
    return type != Type::kNone;
  }
  if (slot == "round") return pick(kRoundings, word, out.rounding) && (out.rounds = true);
  if (slot == "space") return pick(kSpaces, word, out.space);
  if (slot == "vector") {
    if (word != "v2" && word != "v4") return false;
    out.vector = word == "v2" ? 2 : 4;
    return true;
  }
  for (const Flag& flag : kFlags) {
    if (flag.word == slot) return word == slot && (out.*flag.field = true);
  }
  for (const Choice& choice : kChoices) {
    if (choice.slot != slot) continue;
    if (!listed(choice.words, word)) return false;
    out.*choice.field = word;
    return true;
  }
  for (const Ignored& ignored : kIgnored) {
    if (ignored.slot == slot) return listed(ignored.words, word);
  }
  return false;
}

}  // namespace

const Opcode* find_opcode(const std::vector<std::string>& words, std::size_t& used) {
  static const auto rows = [] {
    std::unordered_map<std::string_view, const Opcode*> map;
    for (auto table :
         {arithmetic_opcodes(), conversion_opcodes(), memory_opcodes(), control_opcodes()}) {
      for (const Opcode& row : table) map.emplace(row.name, &row);
    }
    return map;
  }();
  const Opcode* found = nullptr;
  std::string name;
  for (std::size_t i = 0; i < words.size(); ++i) {
    name += (i ? "." : "") + words[i];
    if (const auto row = rows.find(name); row != rows.end()) {
      found = row->second;
      used = i + 1;
    }
  }
  return found;
}

bool match_modifiers(const Opcode& opcode, std::span<const std::string> words, Instruction& out) {
  std::size_t next = 0;
  std::string_view slots = opcode.modifiers;
  while (!slots.empty()) {
    const std::size_t end = std::min(slots.find(' '), slots.size());
    std::string_view slot = slots.substr(0, end);
    slots.remove_prefix(std::min(end + 1, slots.size()));
    const bool optional = slot[0] == '?', repeated = slot[0] == '*';
    if (optional || repeated) slot.remove_prefix(1);
    bool found = next < words.size() && fill(slot, words[next], out);
    if (!found && !optional && !repeated) return false;
    while (found) {
      ++next;
      found = repeated && next < words.size() && fill(slot, words[next], out);
    }
  }
  return next == words.size();
}

}  // namespace muonlab::ptx

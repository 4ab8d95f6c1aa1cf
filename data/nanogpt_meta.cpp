#include "data/nanogpt_meta.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "core/error.h"
#include "data/utf8.h"

namespace muonlab {
namespace {

// A dictionary is a number into Pickle::dicts: a hostile file may nest one in itself.
enum class Dict : std::size_t {};
using Value = std::variant<std::int64_t, std::string_view, Dict>;
using Items = std::vector<std::pair<Value, Value>>;

struct Pickle {
  std::vector<Items> dicts;
  Value root;

  const Items& items(Value dict) const {
    return dicts[static_cast<std::size_t>(std::get<Dict>(dict))];
  }
  std::optional<Value> find(const Items& in, std::string_view key) const {
    const auto at = std::find_if(in.begin(), in.end(),
                                 [&](const auto& item) { return item.first == Value(key); });
    return at == in.end() ? std::nullopt : std::optional(at->second);
  }
};

struct NotUnderstood {};

void need(bool condition) {
  if (!condition) throw NotUnderstood{};
}

// Opcodes that prepare.py's dictionaries need; the names are those of CPython's Lib/pickletools.py.
enum class Op : unsigned char {
  kProto = 0x80,
  kFrame = 0x95,
  kEmptyDict = '}',
  kMark = '(',
  kBinInt1 = 'K',
  kBinInt2 = 'M',
  kBinInt = 'J',
  kShortBinUnicode = 0x8c,
  kBinUnicode = 'X',
  kMemoize = 0x94,
  kBinPut = 'q',
  kLongBinPut = 'r',
  kBinGet = 'h',
  kLongBinGet = 'j',
  kSetItems = 'u',
  kStop = '.',
};

// The pickle virtual machine for these.
Pickle load(std::string_view bytes) {
  Pickle pickle;
  std::vector<Value> stack, memo;
  std::vector<std::size_t> marks;
  std::size_t at = 0;
  const auto take = [&](std::uint64_t count) {
    need(count <= bytes.size() - at);
    const std::string_view part = bytes.substr(at, static_cast<std::size_t>(count));
    at += part.size();
    return part;
  };
  const auto number = [&](std::size_t width) {
    std::uint64_t value = 0;
    const std::string_view part = take(width);
    std::memcpy(&value, part.data(), part.size());
    return value;
  };
  const auto top = [&]() -> Value& {
    need(stack.size() > (marks.empty() ? 0 : marks.back()));
    return stack.back();
  };
  const auto push_int = [&](std::size_t width) {
    stack.emplace_back(static_cast<std::int64_t>(number(width)));
  };
  const auto push_text = [&](std::size_t width) { stack.emplace_back(take(number(width))); };
  const auto push_memo = [&](std::size_t width) {
    const std::uint64_t slot = number(width);
    need(slot < memo.size());
    stack.push_back(memo[static_cast<std::size_t>(slot)]);
  };
  const auto put_memo = [&](std::uint64_t slot) {  // Python numbers the slots in order
    need(slot == memo.size());
    memo.push_back(top());
  };

  while (true) {
    switch (static_cast<Op>(take(1)[0])) {
      case Op::kProto:
        take(1);
        break;
      case Op::kFrame:
        take(8);
        break;
      case Op::kEmptyDict:
        stack.emplace_back(Dict{pickle.dicts.size()});
        pickle.dicts.emplace_back();
        break;
      case Op::kMark:
        marks.push_back(stack.size());
        break;
      case Op::kBinInt1:
        push_int(1);
        break;
      case Op::kBinInt2:
        push_int(2);
        break;
      case Op::kBinInt:
        push_int(4);
        break;
      case Op::kShortBinUnicode:
        push_text(1);
        break;
      case Op::kBinUnicode:
        push_text(4);
        break;
      case Op::kMemoize:
        put_memo(memo.size());
        break;
      case Op::kBinPut:
        put_memo(number(1));
        break;
      case Op::kLongBinPut:
        put_memo(number(4));
        break;
      case Op::kBinGet:
        push_memo(1);
        break;
      case Op::kLongBinGet:
        push_memo(4);
        break;
      case Op::kSetItems: {
        need(!marks.empty() && marks.back() > 0);
        const std::size_t mark = marks.back();
        marks.pop_back();
        need(std::holds_alternative<Dict>(stack[mark - 1]) && (stack.size() - mark) % 2 == 0);
        Items& items = pickle.dicts[static_cast<std::size_t>(std::get<Dict>(stack[mark - 1]))];
        for (std::size_t i = mark; i < stack.size(); i += 2)
          items.emplace_back(stack[i], stack[i + 1]);
        stack.resize(mark);
        break;
      }
      case Op::kStop:
        pickle.root = top();
        return pickle;
      default:
        throw NotUnderstood{};
    }
  }
}

std::vector<char32_t> vocabulary_of(const Pickle& pickle) {
  need(std::holds_alternative<Dict>(pickle.root));
  const auto itos = pickle.find(pickle.items(pickle.root), "itos");
  need(itos && std::holds_alternative<Dict>(*itos));
  const Items& entries = pickle.items(*itos);
  std::vector<char32_t> vocabulary(entries.size());
  std::vector<bool> seen(entries.size());
  for (const auto& [key, value] : entries) {
    need(std::holds_alternative<std::int64_t>(key) &&
         std::holds_alternative<std::string_view>(value));
    const std::int64_t id = std::get<std::int64_t>(key);
    const std::string_view text = std::get<std::string_view>(value);
    need(id >= 0 && id < static_cast<std::int64_t>(entries.size()) &&
         !seen[static_cast<std::size_t>(id)]);
    seen[static_cast<std::size_t>(id)] = true;
    const Utf8Char c = text.empty() ? Utf8Char{} : decode_utf8(text, 0);
    need(c.length > 0 && c.length == text.size());
    vocabulary[static_cast<std::size_t>(id)] = c.value;
  }
  return vocabulary;
}

}  // namespace

std::unique_ptr<CharTokenizer> read_nanogpt_meta(std::string_view pickle, const std::string& name) {
  try {
    return std::make_unique<CharTokenizer>(vocabulary_of(load(pickle)));
  } catch (const NotUnderstood&) {
  } catch (const FormatError&) {  // a character twice, or none at all
  }
  throw FormatError(fmt::format(
      "'{}' is not the vocabulary of characters that nanoGPT writes: delete it to train on "
      "the tokens without text",
      name));
}

}  // namespace muonlab

#include "tests/cuda_emu/ptx_parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cctype>
#include <cstring>
#include <optional>
#include <set>
#include <utility>

#include "tests/cuda_emu/ptx_interpreter.h"
#include "tests/cuda_emu/ptx_opcodes.h"

namespace muonlab::ptx {
namespace {

struct TypeRow {
  std::string_view name;
  unsigned bytes;
};
// In the order of Type.
constexpr std::array kTypes{
    TypeRow{"", 0},      TypeRow{"pred", 1},  TypeRow{"b8", 1},    TypeRow{"b16", 2},
    TypeRow{"b32", 4},   TypeRow{"b64", 8},   TypeRow{"u8", 1},    TypeRow{"u16", 2},
    TypeRow{"u32", 4},   TypeRow{"u64", 8},   TypeRow{"s8", 1},    TypeRow{"s16", 2},
    TypeRow{"s32", 4},   TypeRow{"s64", 8},   TypeRow{"f16", 2},   TypeRow{"bf16", 2},
    TypeRow{"tf32", 4},  TypeRow{"f32", 4},   TypeRow{"f64", 8},   TypeRow{"u16x2", 4},
    TypeRow{"s16x2", 4}, TypeRow{"f16x2", 4}, TypeRow{"bf16x2", 4}};
static_assert(kTypes.size() == static_cast<std::size_t>(Type::kBf16x2) + 1);

// In the order of Special.
constexpr std::array kSpecialNames{"%tid.x",    "%tid.y",    "%tid.z",   "%ntid.x",  "%ntid.y",
                                   "%ntid.z",   "%ctaid.x",  "%ctaid.y", "%ctaid.z", "%nctaid.x",
                                   "%nctaid.y", "%nctaid.z", "%laneid"};
static_assert(kSpecialNames.size() == static_cast<std::size_t>(Special::kCount));

std::size_t aligned(std::size_t offset, std::size_t to) { return (offset + to - 1) / to * to; }

// ---- Words

struct Token {
  enum class Kind : std::uint8_t { kWord, kNumber, kString, kSign, kEnd };
  Kind kind = Kind::kEnd;
  std::string text;
  int line = 0;
  std::size_t begin = 0, end = 0;  // in the PTX text
};

bool in_word(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '$' || c == '%';
}

/// A dot begins a word of its own: "add.s32" is "add" and ".s32".
std::vector<Token> split(const std::string& text) {
  std::vector<Token> tokens;
  int line = 1;
  std::size_t i = 0;
  const auto at = [&](std::size_t k) { return k < text.size() ? text[k] : '\0'; };
  const auto skip_to = [&](std::string_view stop) {
    const std::size_t end = std::min(text.find(stop, i), text.size());
    line += static_cast<int>(std::count(text.begin() + static_cast<std::ptrdiff_t>(i),
                                        text.begin() + static_cast<std::ptrdiff_t>(end), '\n'));
    i = end;
  };
  while (i < text.size()) {
    const char c = text[i];
    if (std::isspace(static_cast<unsigned char>(c))) {
      line += c == '\n';
      ++i;
      continue;
    }
    if (c == '/' && at(i + 1) == '/') {
      skip_to("\n");
      continue;
    }
    if (c == '/' && at(i + 1) == '*') {
      skip_to("*/");
      i = std::min(i + 2, text.size());
      continue;
    }
    Token token{Token::Kind::kSign, {}, line, i, i + 1};
    if (c == '"') {
      token.kind = Token::Kind::kString;
      token.end = std::min(text.find('"', i + 1), text.size() - 1) + 1;
    } else if (std::isdigit(static_cast<unsigned char>(c))) {
      token.kind = Token::Kind::kNumber;
      const bool hexadecimal =
          c == '0' && std::string_view("xXfFdD").find(at(i + 1)) != std::string_view::npos &&
          at(i + 1) != '\0';
      while (in_word(at(token.end)) || (!hexadecimal && at(token.end) == '.') ||
             (!hexadecimal && (at(token.end) == '-' || at(token.end) == '+') &&
              std::tolower(at(token.end - 1)) == 'e')) {
        ++token.end;
      }
    } else if (in_word(c) || (c == '.' && in_word(at(i + 1)))) {
      token.kind = Token::Kind::kWord;
      while (in_word(at(token.end)) || (at(token.end) == ':' && at(token.end + 1) == ':')) {
        token.end += at(token.end) == ':' ? 2 : 1;
      }
    }
    token.text = text.substr(i, token.end - i);
    i = token.end;
    tokens.push_back(std::move(token));
  }
  tokens.push_back({Token::Kind::kEnd, "", line, text.size(), text.size()});
  return tokens;
}

// ---- Names

struct Symbol {
  enum class Kind : std::uint8_t { kRegister, kFrame, kShared, kDynamicShared, kGlobal };
  Kind kind = Kind::kRegister;
  std::int32_t number = 0;
};

/// A use of a label before it is known where it is.
struct LabelUse {
  std::size_t instruction, target;
  std::string label;
  int line;
};

/// What is declared between two braces.
struct Scope {
  std::map<std::string, Symbol, std::less<>> symbols;
  std::map<std::string, std::int32_t, std::less<>> labels;
  std::vector<LabelUse> uses;
};

class Parser {
 public:
  Parser(const std::string& text, const std::string& path) : text_(text), tokens_(split(text)) {
    module_.path = path;
  }

  Module run() {
    scopes_.emplace_back();
    while (peek().kind != Token::Kind::kEnd) module_statement();
    place_shared();
    place_global();
    for (Function& function : module_.functions) place_frame(function);
    for (const auto& [number, chains] : source_chains_) {
      auto& code = module_.functions[static_cast<std::size_t>(number)].code;
      for (std::size_t i = 0; i < code.size(); ++i) code[i].source = source_of(chains[i]);
    }
    for (std::size_t i = 0; i < module_.functions.size(); ++i) follow_calls(i);
    return std::move(module_);
  }

 private:
  // ---- Reading

  const Token& peek(std::size_t ahead = 0) const {
    return tokens_[std::min(next_ + ahead, tokens_.size() - 1)];
  }
  const Token& take() {
    const Token& token = peek();
    if (next_ < tokens_.size()) ++next_;
    return token;
  }
  bool accept(std::string_view text) {
    if (peek().text != text) return false;
    take();
    return true;
  }
  void expect(std::string_view text) {
    if (!accept(text)) fail(fmt::format("expected '{}'", text));
  }
  /// The line of the text on which the current statement stands, for people.
  [[noreturn]] void fail(const std::string& what) const {
    const std::size_t at = std::min(statement_, tokens_.size() - 1);
    const std::size_t begin = tokens_[at].begin;
    const std::size_t stop = std::min(text_.find_first_of(";{}", begin), text_.size());
    const std::size_t seen = std::max(stop, std::min(peek().end, text_.size()));
    throw ParseError(fmt::format("{}:{}: {}, in: {}", module_.path, peek().line, what,
                                 one_line(text_.substr(begin, seen - begin))));
  }
  static std::string one_line(const std::string& text) {
    std::string out;
    for (char c : text) {
      const bool space = std::isspace(static_cast<unsigned char>(c));
      if (space && (out.empty() || out.back() == ' ')) continue;
      out += space ? ' ' : c;
    }
    while (!out.empty() && out.back() == ' ') out.pop_back();
    return out;
  }
  std::string name() {
    if (peek().kind != Token::Kind::kWord || peek().text[0] == '.') fail("expected a name");
    return take().text;
  }
  std::uint64_t integer() {
    const bool minus = accept("-");
    if (peek().kind != Token::Kind::kNumber) fail("expected a number");
    const std::uint64_t value = integer_of(take().text);
    return minus ? 0 - value : value;
  }
  std::uint64_t integer_of(std::string digits) const {
    if (digits.back() == 'U') digits.pop_back();
    std::size_t used = 0;
    std::uint64_t value = 0;
    try {
      const bool binary = digits.size() > 2 && digits[0] == '0' && std::tolower(digits[1]) == 'b';
      value = binary ? std::stoull(digits.substr(2), &used, 2) : std::stoull(digits, &used, 0);
      used += binary ? 2 : 0;
    } catch (const std::logic_error&) {
      used = 0;
    }
    if (used != digits.size()) fail(fmt::format("'{}' is not an integer", digits));
    return value;
  }
  /// The bits of a literal, as an instruction of that type reads them.
  std::uint64_t literal(Type type) {
    const bool minus = accept("-");
    const Token token = take();
    if (token.kind != Token::Kind::kNumber) fail("expected a number");
    const std::string& t = token.text;
    const char mark = t.size() > 2 && t[0] == '0' ? static_cast<char>(std::tolower(t[1])) : '\0';
    if (mark == 'f' || mark == 'd') {
      if (t.size() != (mark == 'f' ? 10u : 18u)) fail(fmt::format("'{}' is not a literal", t));
      return integer_of("0x" + t.substr(2));
    }
    if (mark != 'x' && t.find_first_of(".eE") != std::string::npos) {
      const double value = (minus ? -1 : 1) * std::stod(t);
      if (type == Type::kF32) return std::bit_cast<std::uint32_t>(static_cast<float>(value));
      return std::bit_cast<std::uint64_t>(value);
    }
    return minus ? 0 - integer_of(t) : integer_of(t);
  }
  void skip_line() {
    for (const int line = peek().line; peek().line == line && peek().kind != Token::Kind::kEnd;) {
      take();
    }
  }
  void skip_braces() {
    expect("{");
    for (int depth = 1; depth > 0;) {
      const Token& token = take();
      if (token.kind == Token::Kind::kEnd) fail("a brace is not closed");
      depth += token.text == "{" ? 1 : token.text == "}" ? -1 : 0;
    }
  }

  // ---- The module

  void module_statement() {
    statement_ = next_;
    const std::string word = peek().text;
    if (word == ".version" || word == ".target" || word == ".address_size") {
      if (word == ".address_size" && peek(1).text != "64") fail("addresses must have 64 bits");
      skip_line();
    } else if (word == ".file") {
      take();
      const int number = static_cast<int>(integer());
      const std::string path = peek().text;
      module_.files[number] = path.size() > 1 ? path.substr(1, path.size() - 2) : path;
      skip_line();
    } else if (word == ".section") {
      while (peek().text != "{") take();
      skip_braces();
    } else if (word == ".visible" || word == ".weak" || word == ".extern" || word == ".common") {
      take();
      external_ = word == ".extern";
      return;
    } else if (word == ".entry" || word == ".func") {
      function(word == ".entry");
    } else if (word == ".shared" || word == ".global" || word == ".const") {
      variable();
    } else {
      fail("PTX mode does not know this directive");
    }
    external_ = false;
  }

  // ---- Variables

  /// ".shared .align 4 .b8 tile[1024];"
  void variable() {
    const std::string space = take().text;
    std::size_t align = 0;
    if (accept(".align")) align = integer();
    unsigned per_vector = 1;
    if (peek().text == ".v2" || peek().text == ".v4") per_vector = take().text == ".v2" ? 2 : 4;
    const Type type = type_named(std::string_view(take().text).substr(1));
    if (type == Type::kNone || type == Type::kPred) fail("unknown type of a variable");
    const std::size_t element = bytes_of(type) * per_vector;
    do {
      Variable out;
      out.align = align ? align : element;
      out.name = name();
      std::size_t count = 1;
      bool open = false;
      while (accept("[")) {
        if (accept("]")) {
          open = true;
          continue;
        }
        count *= integer();
        expect("]");
      }
      out.bytes = open ? 0 : count * element;
      if (space == ".shared") {
        declare_shared(out, open);
      } else if (space == ".global" || space == ".const") {
        declare_global(out, bytes_of(type));
      } else {
        out.space = space == ".local" ? Space::kLocal : Space::kParam;
        declare_in_frame(out);
      }
    } while (accept(","));
    expect(";");
  }
  void declare(const std::string& symbol_name, Symbol symbol) {
    scopes_.back().symbols.insert_or_assign(symbol_name, symbol);
  }
  void declare_shared(Variable out, bool open) {
    if (open) return declare(out.name, {Symbol::Kind::kDynamicShared, 0});
    out.space = Space::kShared;
    declare(out.name, {Symbol::Kind::kShared, static_cast<std::int32_t>(module_.shared.size())});
    module_.shared.push_back(out);
    shared_owner_.push_back(function_ ? function_number_ : -1);
  }
  void declare_global(const Variable& out, unsigned element) {
    if (external_) fail("PTX mode does not link modules: a variable of another one");
    const auto number = static_cast<std::int32_t>(module_.global.size());
    declare(out.name, {Symbol::Kind::kGlobal, number});
    module_.global.push_back(out);
    initial_.emplace_back();
    if (accept("=")) initialiser(number, element);
  }
  std::int32_t declare_in_frame(const Variable& out) {
    if (!function_) fail("a variable of this kind belongs to a function");
    const auto number = static_cast<std::int32_t>(function_->variables.size());
    declare(out.name, {Symbol::Kind::kFrame, number});
    function_->variables.push_back(out);
    return number;
  }
  void initialiser(std::int32_t number, unsigned element) {
    if (accept("{")) {
      while (!accept("}")) {
        initialiser(number, element);
        accept(",");
      }
      return;
    }
    Initial value;
    value.bytes = element;
    if (peek().kind == Token::Kind::kWord) {
      const bool generic = accept("generic");
      if (generic) expect("(");
      const Symbol* symbol = find(peek().text);
      if (!symbol || symbol->kind != Symbol::Kind::kGlobal) {
        fail("a variable can be initialised with numbers and addresses of variables only");
      }
      take();
      if (generic) expect(")");
      value.address_of = symbol->number;
      if (accept("+")) value.value = integer();
    } else {
      value.value = literal(element == 4 ? Type::kF32 : Type::kF64);
    }
    initial_[static_cast<std::size_t>(number)].push_back(value);
  }

  const Symbol* find(std::string_view symbol_name) const {
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
      const auto it = scope->symbols.find(symbol_name);
      if (it != scope->symbols.end()) return &it->second;
    }
    return nullptr;
  }

  // ---- Functions

  /// The number of the function of that name, which may not have been seen yet.
  std::int32_t function_number(const std::string& function_name) {
    const auto number = static_cast<std::int32_t>(module_.functions.size());
    const auto [it, fresh] = module_.function_numbers.try_emplace(function_name, number);
    if (fresh) module_.functions.emplace_back().name = function_name;
    return it->second;
  }

  void function(bool entry) {
    const int line = take().line;
    Function out;
    function_ = &out;
    scopes_.emplace_back();
    if (!entry && accept("(")) out.returns = formal_list();
    out.name = name();
    function_number_ = function_number(out.name);
    out.entry = entry;
    out.ptx_line = line;
    if (accept("(")) out.parameters = formal_list();
    for (bool more = true; more;) more = performance_directive(out);
    inlined_.clear();
    sources_.clear();
    if (peek().text == "{") {
      out.defined = true;
      body();
    } else {
      expect(";");
    }
    close_scope();
    function_ = nullptr;
    Function& slot = module_.functions[static_cast<std::size_t>(function_number_)];
    if (out.defined || !slot.defined) slot = std::move(out);
  }
  /// ".param .align 8 .b8 kernel_param_1[240], ..." up to the parenthesis.
  std::vector<std::int32_t> formal_list() {
    std::vector<std::int32_t> out;
    while (!accept(")")) {
      expect(".param");
      Variable variable;
      variable.space = Space::kParam;
      std::size_t align = 0;
      if (accept(".align")) align = integer();
      const Type type = type_named(std::string_view(take().text).substr(1));
      if (type == Type::kNone) fail("unknown type of a parameter");
      if (accept(".ptr")) {  // what the pointer points at
        while (peek().kind == Token::Kind::kWord && peek().text[0] == '.') {
          if (take().text == ".align") integer();
        }
      }
      variable.name = name();
      std::size_t count = 1;
      if (accept("[")) {
        count = integer();
        expect("]");
      }
      variable.bytes = count * bytes_of(type);
      variable.align = align ? align : bytes_of(type);
      out.push_back(declare_in_frame(variable));
      accept(",");
    }
    return out;
  }
  bool performance_directive(Function& out) {
    const std::string word = peek().text;
    if (word == ".noreturn") {
      take();
      return true;
    }
    if (word != ".maxntid" && word != ".reqntid" && word != ".minnctapersm" && word != ".maxnreg") {
      return false;
    }
    take();
    std::uint64_t product = integer();
    while (accept(",")) product *= integer();
    if (word == ".maxntid" || word == ".reqntid") out.max_threads = static_cast<unsigned>(product);
    return true;
  }

  void body() {
    expect("{");
    for (int depth = 1; depth > 0;) {
      statement_ = next_;
      const std::string word = peek().text;
      if (peek().kind == Token::Kind::kEnd) fail("the function is not closed");
      if (word == "}") {
        take();
        if (--depth > 0) close_scope();
      } else if (word == "{") {
        take();
        ++depth;
        scopes_.emplace_back();
      } else if (word == ".reg") {
        registers();
      } else if (word == ".local" || word == ".param" || word == ".shared" || word == ".global" ||
                 word == ".const") {
        variable();
      } else if (word == ".loc") {
        location();
      } else if (word == ".pragma") {
        while (!accept(";")) take();
      } else if (peek(1).text == ":") {
        label();
      } else if (word != ";") {
        instruction();
      } else {
        take();
      }
    }
  }
  void close_scope() {
    Scope scope = std::move(scopes_.back());
    scopes_.pop_back();
    const bool outermost = scopes_.size() == 1;
    for (LabelUse& use : scope.uses) {
      const auto it = scope.labels.find(use.label);
      if (it != scope.labels.end()) {
        function_->code[use.instruction].targets[use.target] = it->second;
      } else if (outermost) {
        throw ParseError(
            fmt::format("{}:{}: there is no label {}", module_.path, use.line, use.label));
      } else {
        scopes_.back().uses.push_back(std::move(use));
      }
    }
  }
  /// ".reg .b32 %r<7>;" or ".reg .pred p, q;"
  void registers() {
    take();
    if (type_named(std::string_view(take().text).substr(1)) == Type::kNone) {
      fail("unknown type of a register");
    }
    do {
      const std::string prefix = name();
      if (!accept("<")) {
        declare(prefix, {Symbol::Kind::kRegister, new_register()});
        continue;
      }
      const std::uint64_t count = integer();
      expect(">");
      for (std::uint64_t i = 0; i < count; ++i) {
        declare(prefix + std::to_string(i), {Symbol::Kind::kRegister, new_register()});
      }
    } while (accept(","));
    expect(";");
  }
  std::int32_t new_register() { return function_->register_count++; }
  /// A register that a frame begins with.
  std::int32_t preset(Preset::Kind kind, std::uint64_t value) {
    for (const Preset& known : function_->presets) {
      if (known.kind == kind && known.value == value) return known.reg;
    }
    function_->presets.push_back({kind, new_register(), value});
    return function_->presets.back().reg;
  }
  /// ".loc 1 44 3, function_name $L__info_string0, inlined_at 1 80 5"
  void location() {
    const int line = take().line;
    const auto position = [&] {
      SourceLine out;
      out.file = static_cast<int>(integer());
      out.line = static_cast<int>(integer());
      integer();
      return out;
    };
    const SourceLine inner = position();
    while (peek().line == line && peek().kind != Token::Kind::kEnd) {
      if (take().text == "inlined_at") inlined_[inner] = position();
    }
    if (inner.line == 0) return;
    sources_.assign(1, inner);
    for (auto outer = inlined_.find(inner); outer != inlined_.end() && sources_.size() < 16;
         outer = inlined_.find(outer->second)) {
      sources_.push_back(outer->second);
    }
  }
  /// Of lines that were inlined into each other, innermost first, the one to tell a person.
  SourceLine source_of(const std::vector<SourceLine>& chain) const {
    for (const SourceLine& source : chain) {
      const auto file = module_.files.find(source.file);
      const bool known = file != module_.files.end();
      if (known && file->second.find("/include/") == std::string::npos) return source;
    }
    return {};
  }
  void label() {
    const std::string label_name = name();
    expect(":");
    if (!accept(".branchtargets")) {
      scopes_.back().labels[label_name] = static_cast<std::int32_t>(function_->code.size());
      return;
    }
    auto& list = branch_targets_[label_name];
    do list.push_back(name());
    while (accept(","));
    expect(";");
  }

  // ---- Instructions

  void instruction() {
    Instruction out;
    out.ptx_line = peek().line;
    if (accept("@")) {
      out.guard_negated = accept("!");
      out.guard = register_named(name());
    }
    const std::size_t begin = peek().begin;
    std::vector<std::string> words{name()};
    while (peek().kind == Token::Kind::kWord && peek().text[0] == '.') {
      words.push_back(take().text.substr(1));
    }
    std::size_t used = 0;
    const Opcode* opcode = find_opcode(words, used);
    if (!opcode || !match_modifiers(*opcode, std::span(words).subspan(used), out)) {
      while (peek().text != ";" && peek().kind != Token::Kind::kEnd) take();
      fail("PTX mode does not know this instruction");
    }
    operands(opcode->operands, out);
    expect(";");
    out.text = one_line(text_.substr(begin, tokens_[next_ - 1].end - begin));
    out.run = opcode->choose(out);
    if (!out.run) fail("PTX mode does not know this instruction for these types and operands");
    function_->code.push_back(std::move(out));
    source_chains_[function_number_].push_back(sources_);
  }

  void operands(std::string_view kinds, Instruction& out) {
    bool first = true;
    while (!kinds.empty()) {
      const std::size_t end = std::min(kinds.find(' '), kinds.size());
      std::string_view kind = kinds.substr(0, end);
      kinds.remove_prefix(std::min(end + 1, kinds.size()));
      if (kind[0] == '?') {
        if (peek().text == ";") return;
        kind.remove_prefix(1);
      }
      if (!first) expect(",");
      first = false;
      switch (kind[0]) {
        case 'L':
          use_label(name(), out);
          break;
        case 'T':
          use_branch_targets(name(), out);
          break;
        case 'C':
          call(out);
          break;
        case '@':
          out.operands.push_back(address(out));
          break;
        default:
          out.operands.push_back(operand(kind[0], out));
      }
    }
  }
  void use_label(const std::string& label_name, Instruction& out) {
    scopes_.back().uses.push_back(
        {function_->code.size(), out.targets.size(), label_name, peek().line});
    out.targets.push_back(-1);
  }
  void use_branch_targets(const std::string& list_name, Instruction& out) {
    const auto list = branch_targets_.find(list_name);
    if (list == branch_targets_.end()) fail("there is no such list of .branchtargets");
    for (const std::string& label_name : list->second) use_label(label_name, out);
  }
  /// "(retval0), callee, (param0, param1)"
  void call(Instruction& out) {
    if (accept("(")) {
      out.results = actual_list();
      expect(",");
    }
    if (find(peek().text)) fail("PTX mode does not know indirect calls");
    out.callee = function_number(name());
    function_calls_[function_number_].push_back(out.callee);
    if (accept(",")) {
      expect("(");
      out.arguments = actual_list();
    }
  }
  std::vector<std::int32_t> actual_list() {
    std::vector<std::int32_t> out;
    while (!accept(")")) {
      const Symbol* symbol = find(name());
      if (!symbol || symbol->kind != Symbol::Kind::kFrame) fail("expected a .param variable");
      out.push_back(symbol->number);
      accept(",");
    }
    return out;
  }
  std::int32_t register_named(const std::string& register_name) {
    const Symbol* symbol = find(register_name);
    if (!symbol || symbol->kind != Symbol::Kind::kRegister) {
      fail(fmt::format("{} is not a register", register_name));
    }
    return symbol->number;
  }
  /// The register that holds what a name stands for.
  std::int32_t value_of(const std::string& value_name) {
    const Symbol* symbol = find(value_name);
    if (symbol) {
      const auto number = static_cast<std::uint64_t>(symbol->number);
      switch (symbol->kind) {
        case Symbol::Kind::kRegister:
          return symbol->number;
        case Symbol::Kind::kFrame:
          return preset(Preset::Kind::kFrame, number);
        case Symbol::Kind::kDynamicShared:
          return preset(Preset::Kind::kDynamicShared, 0);
        case Symbol::Kind::kGlobal:
          return preset(Preset::Kind::kGlobal, number);
        case Symbol::Kind::kShared:
          uses_shared_[function_number_].insert(symbol->number);
          return preset(Preset::Kind::kShared, number);
      }
    }
    if (value_name == "WARP_SZ") return preset(Preset::Kind::kValue, 32);
    std::string full = value_name;
    if (peek().kind == Token::Kind::kWord && peek().text[0] == '.') full += take().text;
    const auto special = std::find(kSpecialNames.begin(), kSpecialNames.end(), full);
    if (special == kSpecialNames.end()) fail(fmt::format("PTX mode does not know '{}'", full));
    return preset(Preset::Kind::kSpecial,
                  static_cast<std::uint64_t>(special - kSpecialNames.begin()));
  }
  /// kind: d or p, a destination, which a frame must not find preset; a, a source.
  Operand operand(char kind, Instruction& out) {
    Operand result;
    if (accept("{")) {
      result.kind = Operand::Kind::kVector;
      result.reg = static_cast<std::int32_t>(out.elements.size());
      do out.elements.push_back(scalar(kind, out.type));
      while (accept(","));
      expect("}");
      result.second = static_cast<std::int32_t>(out.elements.size()) - result.reg;
      return result;
    }
    result.negated = kind == 'a' && accept("!");
    result.reg = scalar(kind, out.type);
    if (kind == 'p' && accept("|")) result.second = scalar(kind, out.type);
    return result;
  }
  std::int32_t scalar(char kind, Type type) {
    if (accept("_")) return new_register();
    if (kind != 'a') return register_named(name());
    if (peek().kind == Token::Kind::kWord) return value_of(take().text);
    return preset(Preset::Kind::kValue, literal(type));
  }
  /// "[%rd1+16]"
  Operand address(const Instruction& out) {
    expect("[");
    Operand result;
    result.kind = Operand::Kind::kAddress;
    result.reg = scalar('a', out.type);
    const bool plus = accept("+");
    if (plus || peek().text == "-") result.offset = static_cast<std::int64_t>(integer());
    expect("]");
    return result;
  }

  // ---- Addresses, once everything is known

  /// Those of the module first; those of one function begin after these, on top of each other.
  void place_shared() {
    std::size_t common = 0;
    std::map<std::int32_t, std::size_t> own;
    const auto place = [&](std::size_t i, std::size_t& end) {
      Variable& variable = module_.shared[i];
      const std::size_t gap = shared_gap(variable.bytes);
      variable.offset = aligned(end + gap, std::max<std::size_t>(variable.align, 16));
      end = variable.offset + variable.bytes + gap;
    };
    const auto is_common = [&](std::int32_t owner) {
      return owner < 0 || !module_.functions[static_cast<std::size_t>(owner)].entry;
    };
    for (std::size_t i = 0; i < module_.shared.size(); ++i) {
      if (is_common(shared_owner_[i])) place(i, common);
    }
    for (std::size_t i = 0; i < module_.shared.size(); ++i) {
      const std::int32_t owner = shared_owner_[i];
      if (!is_common(owner)) place(i, own.try_emplace(owner, common).first->second);
    }
  }
  void place_global() {
    constexpr std::size_t kAlign = 16;
    std::size_t end = 0;
    for (Variable& variable : module_.global) {
      variable.offset = aligned(end, std::max(variable.align, kAlign));
      end = variable.offset + variable.bytes;
    }
    module_.storage_bytes = end;
    module_.storage = std::make_unique<std::byte[]>(end);
    for (std::size_t i = 0; i < module_.global.size(); ++i) {
      std::byte* to = module_.storage.get() + module_.global[i].offset;
      for (const Initial& initial : initial_[i]) {
        std::uint64_t value = initial.value;
        if (initial.address_of >= 0) {
          const std::size_t offset =
              module_.global[static_cast<std::size_t>(initial.address_of)].offset;
          value += reinterpret_cast<std::uintptr_t>(module_.storage.get() + offset);
        }
        std::memcpy(to, &value, initial.bytes);
        to += initial.bytes;
      }
    }
  }
  void place_frame(Function& function) {
    // An entry's parameters are packed by themselves, as the driver gets them.
    for (const std::int32_t number : function.parameters) {
      Variable& parameter = function.variables[static_cast<std::size_t>(number)];
      parameter.offset = aligned(function.parameter_bytes, parameter.align);
      function.parameter_bytes = parameter.offset + parameter.bytes;
    }
    const std::size_t registers =
        aligned(kFrameHeader + 8 * static_cast<std::size_t>(function.register_count), 16);
    std::size_t end = registers + function.parameter_bytes;
    for (std::size_t i = 0; i < function.variables.size(); ++i) {
      Variable& variable = function.variables[i];
      if (i >= function.returns.size() &&
          i < function.returns.size() + function.parameters.size()) {
        variable.offset += registers;
        continue;
      }
      variable.offset = aligned(end, variable.align);
      end = variable.offset + variable.bytes;
    }
    function.frame_bytes = aligned(end, 16);
  }
  /// Stack and shared variables of a function with everything that it calls.
  void follow_calls(std::size_t root) {
    std::set<std::int32_t> shared;
    std::vector<std::int32_t> path;
    const auto visit = [&](auto&& self, std::int32_t number) -> std::size_t {
      const Function& function = module_.functions[static_cast<std::size_t>(number)];
      if (std::find(path.begin(), path.end(), number) != path.end()) {
        throw ParseError(fmt::format("{}:{}: {} calls itself, which PTX mode does not know",
                                     module_.path, function.ptx_line, function.name));
      }
      if (!function.defined) {
        throw ParseError(fmt::format("{}:{}: {} is called, and is not in this module", module_.path,
                                     function.ptx_line, function.name));
      }
      shared.insert(uses_shared_[number].begin(), uses_shared_[number].end());
      path.push_back(number);
      std::size_t deepest = 0;
      for (const std::int32_t callee : function_calls_[number]) {
        deepest = std::max(deepest, self(self, callee));
      }
      path.pop_back();
      return function.frame_bytes + deepest;
    };
    Function& function = module_.functions[root];
    if (!function.defined) return;
    function.stack_bytes = visit(visit, static_cast<std::int32_t>(root));
    function.shared.assign(shared.begin(), shared.end());
  }

  struct Initial {
    std::uint64_t value = 0;
    std::int32_t address_of = -1;  // a variable of Module::global
    unsigned bytes = 0;
  };

  const std::string& text_;
  std::vector<Token> tokens_;
  std::size_t next_ = 0, statement_ = 0;
  Module module_;
  std::vector<Scope> scopes_;
  Function* function_ = nullptr;
  std::int32_t function_number_ = -1;
  bool external_ = false;
  std::vector<SourceLine> sources_;  // of the instructions that follow, innermost first
  std::map<std::int32_t, std::vector<std::vector<SourceLine>>> source_chains_;  // by function
  std::map<SourceLine, SourceLine> inlined_;
  std::map<std::string, std::vector<std::string>> branch_targets_;
  std::vector<std::int32_t> shared_owner_;     // the function of each of Module::shared, or -1
  std::vector<std::vector<Initial>> initial_;  // of each of Module::global
  std::map<std::int32_t, std::set<std::int32_t>> uses_shared_;  // by function
  std::map<std::int32_t, std::vector<std::int32_t>> function_calls_;
};

}  // namespace

Type type_named(std::string_view name) {
  for (std::size_t i = 1; i < kTypes.size(); ++i) {
    if (kTypes[i].name == name) return static_cast<Type>(i);
  }
  return Type::kNone;
}
unsigned bytes_of(Type type) { return kTypes[static_cast<std::size_t>(type)].bytes; }

std::string Module::describe(const Instruction& instruction) const {
  return fmt::format("{}:{}: {}", path, instruction.ptx_line, instruction.text);
}

Module parse(const std::string& text, const std::string& path) { return Parser(text, path).run(); }

}  // namespace muonlab::ptx

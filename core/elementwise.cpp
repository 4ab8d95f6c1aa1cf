#include "core/elementwise.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "core/error.h"

namespace muonlab {
namespace {

int operand_count(ElementOp op) {
  switch (op) {
    case ElementOp::copy:
    case ElementOp::sqrt:
    case ElementOp::abs:
    case ElementOp::sign:
      return 1;
    case ElementOp::fma:
    case ElementOp::fnma:
    case ElementOp::lerp:
      return 3;
    default:
      return 2;
  }
}

std::uint8_t narrow(std::size_t i) { return static_cast<std::uint8_t>(i); }

void require_fits(const char* what, std::size_t count, int most) {
  if (count > static_cast<std::size_t>(most))
    throw Error(
        fmt::format("[elementwise] the program has {} {}; at most {} fit", count, what, most));
}

using Code = std::vector<ElementInstruction>;

bool is_value(const Operand& o, std::size_t i) {
  return o.kind == OperandKind::temporary && o.index == i;
}

template <class F>
void for_operands(ElementInstruction& i, const F& f) {
  f(i.a);
  f(i.b);
  f(i.c);
}

/// How often each value is used, by instructions that are used themselves and by stores.
template <class Stores>
std::vector<int> count_uses(Code& code, const Stores& stores) {
  std::vector<int> uses(code.size(), 0);
  for (const auto& s : stores) ++uses[s.value.index];
  for (std::size_t i = code.size(); i-- > 0;)
    if (uses[i] > 0)
      for_operands(code[i], [&](const Operand& o) {
        if (o.kind == OperandKind::temporary) ++uses[o.index];
      });
  return uses;
}

/// a b + c and c - a b, where the product has no other use.
void fuse_products(Code& code, const std::vector<int>& uses) {
  const auto fuse = [&](ElementInstruction& i, ElementOp op, Operand product, Operand other) {
    if (product.kind != OperandKind::temporary || uses[product.index] != 1) return false;
    const ElementInstruction& p = code[product.index];
    if (p.op != ElementOp::mul) return false;
    i = {op, {}, p.a, p.b, other};
    return true;
  };
  for (ElementInstruction& i : code) {
    if (i.op == ElementOp::add)
      fuse(i, ElementOp::fma, i.a, i.b) || fuse(i, ElementOp::fma, i.b, i.a);
    else if (i.op == ElementOp::sub)
      fuse(i, ElementOp::fnma, i.b, i.a);
  }
}

}  // namespace

Lane ElementwiseBuilder::column(int k) {
  require_fits("columns", static_cast<std::size_t>(k) + 1, ElementProgram::kMaxColumns);
  return {this, {OperandKind::column, static_cast<std::uint8_t>(k)}};
}

Lane ElementwiseBuilder::scalar(int k) {
  require_fits("scalars", static_cast<std::size_t>(k) + 1, ElementProgram::kMaxScalars);
  return {this, {OperandKind::scalar, static_cast<std::uint8_t>(k)}};
}

Operand ElementwiseBuilder::operand(const Lane& lane) {
  if (lane.builder_ == this) return lane.at_;
  if (lane.builder_) throw Error("[elementwise] lanes of two programs cannot meet");
  auto at = std::find(constants_.begin(), constants_.end(), lane.constant_);
  if (at == constants_.end()) {
    require_fits("constants", constants_.size() + 1, ElementProgram::kMaxConstants);
    at = constants_.insert(at, lane.constant_);
  }
  return {OperandKind::constant, narrow(static_cast<std::size_t>(at - constants_.begin()))};
}

Lane ElementwiseBuilder::apply(ElementOp op, const Lane& a, const Lane& b, const Lane& c) {
  ElementwiseBuilder* builder = a.builder_ ? a.builder_ : b.builder_ ? b.builder_ : c.builder_;
  if (!builder) throw Error("[elementwise] an operation on numbers alone belongs to no program");
  ElementInstruction i{op, {}, builder->operand(a), {}, {}};
  if (operand_count(op) > 1) i.b = builder->operand(b);
  if (operand_count(op) > 2) i.c = builder->operand(c);
  require_fits("instructions", builder->code_.size() + 1, ElementProgram::kMaxInstructions);
  builder->code_.push_back(i);
  return {builder, {OperandKind::temporary, narrow(builder->code_.size() - 1)}};
}

void ElementwiseBuilder::store(int k, Lane value) {
  column(k);  // checks k
  Operand at = operand(value);
  // What is stored is always the result of an instruction of its own, so that no column is needed
  // after another was overwritten.
  const bool taken = std::any_of(stores_.begin(), stores_.end(),
                                 [&](const Store& s) { return s.value == at && s.column != k; });
  if (at.kind != OperandKind::temporary || taken) at = apply(ElementOp::copy, Lane(this, at)).at_;
  std::erase_if(stores_, [&](const Store& s) { return s.column == k; });
  stores_.push_back({k, at});
}

bool ElementwiseBuilder::is_column(const Lane& lane, int k) {
  return lane.builder_ && lane.at_ == Operand{OperandKind::column, static_cast<std::uint8_t>(k)};
}

ElementProgram ElementwiseBuilder::program() const {
  Code code = code_;
  fuse_products(code, count_uses(code, stores_));
  const std::vector<int> uses = count_uses(code, stores_);

  // The last instruction that reads each column's old value, and each value.
  std::array<std::size_t, ElementProgram::kMaxColumns> last_read{};
  std::vector<std::size_t> last_use(code.size(), 0);
  for (std::size_t i = 0; i < code.size(); ++i) {
    if (uses[i] == 0) continue;
    for_operands(code[i], [&](const Operand& o) {
      if (o.kind == OperandKind::column) last_read[o.index] = i;
      if (o.kind == OperandKind::temporary) last_use[o.index] = i;
    });
  }

  ElementProgram p;
  p.constants = static_cast<int>(constants_.size());
  std::copy(constants_.begin(), constants_.end(), p.constant.begin());
  std::vector<Operand> place(code.size());
  std::vector<bool> busy;  // temporaries
  std::vector<Store> late;
  const auto emit = [&](const ElementInstruction& i) {
    require_fits("instructions", static_cast<std::size_t>(p.instructions) + 1,
                 ElementProgram::kMaxInstructions);
    p.code[static_cast<std::size_t>(p.instructions++)] = i;
  };
  for (std::size_t i = 0; i < code.size(); ++i) {
    if (uses[i] == 0) continue;
    ElementInstruction out = code[i];
    for_operands(out, [&](Operand& o) {
      if (o.kind == OperandKind::column) {
        p.columns = std::max(p.columns, o.index + 1);
        p.reads |= 1U << o.index;
      } else if (o.kind == OperandKind::scalar) {
        p.scalars = std::max(p.scalars, o.index + 1);
      } else if (o.kind == OperandKind::temporary) {
        const std::size_t value = o.index;
        o = place[value];
        if (o.kind == OperandKind::temporary && last_use[value] == i) busy[o.index] = false;
      }
    });
    const auto stored = std::find_if(stores_.begin(), stores_.end(),
                                     [&](const Store& s) { return is_value(s.value, i); });
    if (stored != stores_.end()) {
      p.columns = std::max(p.columns, stored->column + 1);
      p.writes |= 1U << stored->column;
    }
    if (stored != stores_.end() && last_read[static_cast<std::size_t>(stored->column)] <= i) {
      place[i] = {OperandKind::column, static_cast<std::uint8_t>(stored->column)};
    } else {
      auto free = std::find(busy.begin(), busy.end(), false);
      if (free == busy.end()) {
        require_fits("values at once", busy.size() + 1, ElementProgram::kMaxTemporaries);
        free = busy.insert(free, false);
      }
      *free = true;
      place[i] = {OperandKind::temporary, narrow(static_cast<std::size_t>(free - busy.begin()))};
      if (stored != stores_.end()) {
        last_use[i] = code.size();  // until it is copied
        late.push_back({stored->column, place[i]});
      }
    }
    out.dst = place[i];
    emit(out);
  }
  for (const Store& s : late)
    emit({ElementOp::copy,
          {OperandKind::column, static_cast<std::uint8_t>(s.column)},
          s.value,
          {},
          {}});
  p.temporaries = static_cast<int>(busy.size());
  return p;
}

Lane operator+(Lane a, Lane b) { return ElementwiseBuilder::apply(ElementOp::add, a, b); }
Lane operator-(Lane a, Lane b) { return ElementwiseBuilder::apply(ElementOp::sub, a, b); }
Lane operator*(Lane a, Lane b) {
  if (!a.builder_ && a.constant_ == 1) return b;
  if (!b.builder_ && b.constant_ == 1) return a;
  return ElementwiseBuilder::apply(ElementOp::mul, a, b);
}
Lane operator/(Lane a, Lane b) {
  return b.builder_ ? ElementwiseBuilder::apply(ElementOp::div, a, b) : a * (1 / b.constant_);
}
Lane operator-(Lane a) { return ElementwiseBuilder::apply(ElementOp::mul, a, -1.0); }
Lane sqrt(Lane a) { return ElementwiseBuilder::apply(ElementOp::sqrt, a); }
Lane abs(Lane a) { return ElementwiseBuilder::apply(ElementOp::abs, a); }
Lane sign(Lane a) { return ElementwiseBuilder::apply(ElementOp::sign, a); }
Lane min(Lane a, Lane b) { return ElementwiseBuilder::apply(ElementOp::min, a, b); }
Lane max(Lane a, Lane b) { return ElementwiseBuilder::apply(ElementOp::max, a, b); }
Lane lerp(Lane a, Lane b, Lane weight) {
  return ElementwiseBuilder::apply(ElementOp::lerp, a, b, weight);
}

}  // namespace muonlab

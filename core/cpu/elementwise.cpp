// A program runs tile by tile: each instruction over a whole tile before the next, so that what it
// costs to look at an instruction is spread over some hundred elements, while a tile of every
// column and temporary stays in the first-level cache.
#include "core/elementwise.h"

#include <array>
#include <cmath>
#include <vector>

#include "core/cpu/cpu_backend.h"
#include "core/cpu/parallel.h"

namespace muonlab::cpu {
namespace {

constexpr std::int64_t kTile = 256;     // elements: all streams of memory flow at once
constexpr std::int64_t kChunk = 16384;  // elements that a thread takes at once

/// One operand over a tile: elements, or one number for all.
template <class T>
struct Values {
  const T* elements;  ///< null: `number`
  T number;
};

/// Calls g with a function that gives element i of the operand, so that the loop in g is compiled
/// once for elements and once for a number.
template <class T, class G>
void with(const Values<T>& v, const G& g) {
  if (v.elements)
    g([p = v.elements](std::int64_t i) { return p[i]; });
  else
    g([x = v.number](std::int64_t) { return x; });
}

template <class T, class F>
void loop(std::int64_t n, T* dst, const F& f) {
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) dst[i] = f(i);
}

template <class T, class F>
void unary(std::int64_t n, T* dst, Values<T> a, F f) {
  with(a, [&](auto at_a) { loop(n, dst, [=](std::int64_t i) { return f(at_a(i)); }); });
}
template <class T, class F>
void binary(std::int64_t n, T* dst, Values<T> a, Values<T> b, F f) {
  with(a, [&](auto at_a) {
    with(b, [&](auto at_b) { loop(n, dst, [=](std::int64_t i) { return f(at_a(i), at_b(i)); }); });
  });
}
template <class T, class F>
void ternary(std::int64_t n, T* dst, Values<T> a, Values<T> b, Values<T> c, F f) {
  with(a, [&](auto at_a) {
    with(b, [&](auto at_b) {
      with(c, [&](auto at_c) {
        loop(n, dst, [=](std::int64_t i) { return f(at_a(i), at_b(i), at_c(i)); });
      });
    });
  });
}

template <class T>
void run(ElementOp op, std::int64_t n, T* dst, Values<T> a, Values<T> b, Values<T> c) {
  switch (op) {
    case ElementOp::copy:
      return unary(n, dst, a, [](T x) { return x; });
    case ElementOp::add:
      return binary(n, dst, a, b, [](T x, T y) { return x + y; });
    case ElementOp::sub:
      return binary(n, dst, a, b, [](T x, T y) { return x - y; });
    case ElementOp::mul:
      return binary(n, dst, a, b, [](T x, T y) { return x * y; });
    case ElementOp::div:
      return binary(n, dst, a, b, [](T x, T y) { return x / y; });
    case ElementOp::fma:
      return ternary(n, dst, a, b, c, [](T x, T y, T z) { return x * y + z; });
    case ElementOp::fnma:
      return ternary(n, dst, a, b, c, [](T x, T y, T z) { return z - x * y; });
    case ElementOp::lerp:
      return ternary(n, dst, a, b, c, [](T x, T y, T z) { return x + z * (y - x); });
    case ElementOp::min:
      return binary(n, dst, a, b, [](T x, T y) { return x < y ? x : y; });
    case ElementOp::max:
      return binary(n, dst, a, b, [](T x, T y) { return x > y ? x : y; });
    case ElementOp::sqrt:
      return unary(n, dst, a, [](T x) { return std::sqrt(x); });
    case ElementOp::abs:
      return unary(n, dst, a, [](T x) { return std::fabs(x); });
    case ElementOp::sign:
      return unary(n, dst, a, [](T x) { return T(x > T(0)) - T(x < T(0)); });
  }
}

/// A row as the kernel wants it, and where in it a chunk begins.
template <class T>
struct Chunk {
  std::array<T*, ElementProgram::kMaxColumns> columns{};
  const double* scalars;
  std::int64_t size;
};

template <class T>
void run_chunk(const ElementProgram& p, Chunk<T> chunk) {
  alignas(64) std::array<T, ElementProgram::kMaxTemporaries * kTile> temporaries;
  for (std::int64_t begin = 0; begin < chunk.size; begin += kTile) {
    const std::int64_t n = std::min(kTile, chunk.size - begin);
    const auto place = [&](Operand o) {
      return o.kind == OperandKind::column ? chunk.columns[o.index] + begin
                                           : temporaries.data() + o.index * kTile;
    };
    const auto values = [&](Operand o) -> Values<T> {
      switch (o.kind) {
        case OperandKind::scalar:
          return {nullptr, static_cast<T>(chunk.scalars[o.index])};
        case OperandKind::constant:
          return {nullptr, static_cast<T>(p.constant[o.index])};
        case OperandKind::none:
          return {nullptr, T(0)};
        default:
          return {place(o), T(0)};
      }
    };
    for (int i = 0; i < p.instructions; ++i) {
      const ElementInstruction& in = p.code[static_cast<std::size_t>(i)];
      run(in.op, n, place(in.dst), values(in.a), values(in.b), values(in.c));
    }
  }
}

template <class T>
void run_program(const ElementProgram& p, std::span<const ElementRow> rows) {
  std::vector<Chunk<T>> chunks;
  for (const ElementRow& row : rows) {
    Chunk<T> chunk{};
    chunk.scalars = row.scalars.data();
    const std::int64_t size = row.columns[0].numel();
    for (std::int64_t begin = 0; begin < size; begin += kChunk) {
      for (std::size_t k = 0; k < static_cast<std::size_t>(p.columns); ++k) {
        Tensor column = row.columns[k];
        chunk.columns[k] = column.data<T>() + begin;
      }
      chunk.size = std::min(kChunk, size - begin);
      chunks.push_back(chunk);
    }
  }
  parallel_for(static_cast<std::int64_t>(chunks.size()), 1, [&](std::int64_t i, std::int64_t) {
    run_chunk(p, chunks[static_cast<std::size_t>(i)]);
  });
}

}  // namespace

void CpuBackend::elementwise(const ElementwiseArgs& a) {
  if (a.rows.empty()) return;
  with_type(a.rows[0].columns[0],
            [&](auto zero) { run_program<decltype(zero)>(a.program, a.rows); });
}

}  // namespace muonlab::cpu

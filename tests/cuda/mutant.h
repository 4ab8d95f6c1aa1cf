#pragma once

#include <cuda_runtime.h>

#include <concepts>

// Included before every kernel that mutate.py writes: each mutant is a place where the kernel asks
// at run time whether this mutant is the one to be tried. So all of them are compiled once.
namespace mutant {

/// True if it is this one's turn.
bool is(int number);
/// What a comparison comes to: `value`, or what one of the two mutants from `number` on makes of
/// it.
bool choose(int number, bool value, bool first, bool second);
bool choose(int number, bool value, bool other);
/// The two mutants from `number` on are none: what is compared there has no neighbours.
void are_none(int number);
/// What to add to a bound: 0, or 1 and -1 for the two mutants from `number` on.
int shift(int number);

// a < b is written a < Less{n} > b, which has the same precedence: the left half makes a Half.
template <class Operator, class T>
struct Half {
  int number;
  T left;
};
template <class Operator>
struct Relation {
  int number;
};
template <class Operator, class T>
Half<Operator, T> operator<(T left, Relation<Operator> r) {
  return {r.number, left};
}
template <class Operator, class T, class U>
bool operator>(Half<Operator, T> half, U right) {
  const bool value = Operator::of(half.left, right);
  if constexpr (std::integral<T> && std::integral<U>)
    return choose(half.number, value, Operator::of(half.left, right + 1),
                  Operator::of(half.left, right - 1));
  are_none(half.number);
  return value;
}
#define MUTANT_RELATION(NAME, OPERATOR) \
  struct Is##NAME {                     \
    template <class T, class U>         \
    static bool of(T a, U b) {          \
      return a OPERATOR b;              \
    }                                   \
  };                                    \
  using NAME = Relation<Is##NAME>;
MUTANT_RELATION(Less, <)
MUTANT_RELATION(LessEqual, <=)
MUTANT_RELATION(Greater, >)
MUTANT_RELATION(GreaterEqual, >=)
#undef MUTANT_RELATION

/// a == b becomes true and a != b false: a guard that is not there.
struct Guard {
  int number;
};
template <class T>
Half<Guard, T> operator==(T left, Guard g) {
  return {g.number, left};
}
template <class T, class U>
bool operator==(Half<Guard, T> half, U right) {
  return choose(half.number, half.left == right, true);
}
template <class T>
Half<Guard, T> operator!=(T left, Guard g) {
  return {g.number, left};
}
template <class T, class U>
bool operator!=(Half<Guard, T> half, U right) {
  return choose(half.number, half.left != right, false);
}

template <class T, class U>
auto least(int number, T a, U b) {
  return ::min(a, b) + shift(number);
}

/// The atomic of the same name, or a plain update, or none.
template <class T, class U>
void atomic_max(int number, T* p, U value) {
  if (is(number))
    *p = *p > value ? *p : value;
  else if (!is(number + 1))
    atomicMax(p, value);
}
template <class T, class U>
void atomic_min(int number, T* p, U value) {
  if (is(number))
    *p = *p < value ? *p : value;
  else if (!is(number + 1))
    atomicMin(p, value);
}

}  // namespace mutant

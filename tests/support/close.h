#pragma once

#include <cstdint>

#include "tests/support/array.h"

// How near is near enough, said once.
//
// A result that sums n terms of like size t and random sign is about sqrt(n) t large. Its k-th
// partial sum is sqrt(k) t large and rounds by up to eps/2 of that; the roundings add as a random
// walk to eps/2 t sqrt(1 + 2 + ... + n) = 0.35 eps n t, which is 0.35 eps sqrt(n) of the result.
// The largest of a million normal deviates is 5 of those, 1.8 eps sqrt(n); the factor 8 leaves room
// for what goes into a term (an exponential, a reciprocal root, a few products: some eps each).
//
// A missing or doubled term is 1/sqrt(n) of the result. A tolerance may be at most a tenth of that,
// or the test is blind: so n <= 1 / (80 eps), 104857 in f32.
namespace muonlab::test {

/// Distance from 1 to the next number.
double epsilon(DType dtype);

/// Largest acceptable `relative_error` of results whose longest sum has `terms` terms.
/// Throws: std::logic_error if a missing term would be hard to see.
double tolerance(DType dtype, std::int64_t terms);

/// max_i |got_i - want_i| / max(|want_i|, rms(want)): errors are measured by the size of the terms
/// that went in, which cancellation in single elements hides. Infinite if a NaN is in either, or if
/// shapes differ.
double relative_error(const Array& got, const Array& want);

}  // namespace muonlab::test

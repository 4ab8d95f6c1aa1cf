#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace muonlab {

/// phi(x) = a x + b x^3 + c x^5, one step of an orthogonalisation, on singular values.
struct Quintic {
  double a = 0, b = 0, c = 0;
  bool operator==(const Quintic&) const = default;
};

/// The names that `coefficients` knows; optim/steps/coefficients.cpp says what each is for.
std::vector<std::string> coefficient_names();

/// The steps of a set by its name, or of a list by hand: "a b c; a b c", a missing c is 0. `steps`
/// decides how many: the first ones, and then the last one again and again; 0: as many as the set
/// was made for, or as the list has. Throws: ConfigError for an unknown name or a bad list.
std::vector<Quintic> coefficients(const std::string& set, std::int64_t steps = 0);

}  // namespace muonlab

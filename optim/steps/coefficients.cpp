#include "optim/steps/coefficients.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <charconv>
#include <cmath>
#include <utility>

#include "core/error.h"
#include "core/options.h"

namespace muonlab {
namespace {

struct Set {
  const char* name;
  std::int64_t steps;
  std::vector<Quintic> list;
};

/// Amsel et al. 2025, "The Polar Express", algorithm 1: the best odd quintics one after another for
/// singular values in [1e-3, 1], each but the last divided as for matrices 1% longer, since
/// rounding may take a singular value above 1, where phi grows fast. The tests compute the table.
std::vector<Quintic> polar_express() {
  std::vector<Quintic> list{{8.28721201814563, -23.595886519098837, 17.300387312530933},
                            {4.107059111542203, -2.9478499167379106, 0.5448431082926601},
                            {3.9486908534822946, -2.908902115962949, 0.5518191394370137},
                            {3.3184196573706015, -2.488488024314874, 0.51004894012372},
                            {2.300652019954817, -1.6689039845747493, 0.4188073119525673},
                            {1.891301407787398, -1.2679958271945868, 0.37680408948524835},
                            {1.8750014808534479, -1.2500016453999487, 0.3750001645474248}};
  for (Quintic& q : list) q = {q.a / 1.01, q.b / std::pow(1.01, 3), q.c / std::pow(1.01, 5)};
  list.push_back({1.875, -1.25, 0.375});
  return list;
}

const std::vector<Set>& sets() {
  constexpr Quintic kJordan{3.4445, -4.7750, 2.0315}, kSimple{2, -1.5, 0.5};
  static const std::vector<Set> all{
      // Jordan et al. 2024, "Muon": steep at 0, not made to converge. 1 is no fixed point, and the
      // iterates of any x in (0, 1.2637) end in [0.6818, 1.1344] and stay there.
      {"jordan", 5, {kJordan}},
      // Converges, slowly: twelve steps in the baseline of modded-nanogpt's third track.
      {"simple", 12, {kSimple}},
      // Newton and Schulz's own: Kovarik 1970; Bjorck, Bowie 1971.
      {"cubic", 15, {{1.5, -0.5, 0}}},
      // The Taylor expansion that the optimal quintics tend to.
      {"taylor5", 8, {{1.875, -1.25, 0.375}}},
      // Fitted step by step (You Jiacheng, in modded-nanogpt); optax calls the list "dion".
      {"you5",
       5,
       {{4.0848, -6.8946, 2.9270},
        {3.9505, -6.3029, 2.6377},
        {3.7418, -5.5913, 2.3037},
        {2.8769, -3.1427, 1.2046},
        {2.8366, -3.0525, 1.2012}}},
      // DeepSeek-V4's: steep first, then to convergence.
      {"v4",
       10,
       {kJordan, kJordan, kJordan, kJordan, kJordan, kJordan, kJordan, kJordan, kSimple, kSimple}},
      // "How much orthogonalization does Muon need?", 2026: without fifth powers.
      {"cubic5",
       5,
       {{3.3656576, -3.3420992, 0},
        {2.5744352, -1.4957376, 0},
        {2.5368962, -1.4312570, 0},
        {2.4418906, -1.2764040, 0},
        {2.2230472, -0.9630650, 0}}},
      // "Turbo-Muon", 2025: made for the norm `aol`.
      {"aol4",
       4,
       {{4.6051, -9.6552, 5.6769},
        {4.7505, -6.0861, 2.1790},
        {2.7763, -2.3190, 0.5523},
        {2.4231, -2.2861, 0.8193}}},
      {"pe", 5, polar_express()},
  };
  return all;
}

[[noreturn]] void reject(const std::string& text) {
  const std::vector<std::string> names = coefficient_names();
  const std::string near = nearest_name(text, names);
  throw ConfigError(fmt::format(
      "'{}' is no list of coefficients; expected {}, or numbers: 'a b c; a b c' for two steps of "
      "a x + b x^3 + c x^5{}",
      text, fmt::join(names, ", "),
      near.empty() ? "" : fmt::format(" (did you mean '{}'?)", near)));
}

std::vector<Quintic> parse(const std::string& text) {
  std::vector<Quintic> list;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(';', begin), text.size());
    std::vector<double> numbers;
    for (const char *at = text.data() + begin, *last = text.data() + end; at != last;) {
      if (*at == ' ' || *at == ',') {
        ++at;
        continue;
      }
      double x = 0;
      const auto [next, error] = std::from_chars(at, last, x);
      if (error != std::errc() || !std::isfinite(x)) reject(text);
      numbers.push_back(x);
      at = next;
    }
    if (numbers.size() < 2 || numbers.size() > 3) reject(text);
    list.push_back({numbers[0], numbers[1], numbers.size() == 3 ? numbers[2] : 0});
    begin = end + 1;
  }
  return list;
}

}  // namespace

std::vector<std::string> coefficient_names() {
  std::vector<std::string> names;
  for (const Set& set : sets()) names.emplace_back(set.name);
  return names;
}

std::vector<Quintic> coefficients(const std::string& set, std::int64_t steps) {
  std::vector<Quintic> list;
  for (const Set& s : sets())
    if (set == s.name) {
      list = s.list;
      if (steps == 0) steps = s.steps;
    }
  if (list.empty()) list = parse(set);
  if (steps != 0) list.resize(static_cast<std::size_t>(steps), list.back());
  return list;
}

}  // namespace muonlab

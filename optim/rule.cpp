#include "optim/rule.h"

#include <algorithm>

#include "core/math.h"

namespace muonlab {

void for_elements(std::span<Slot> slots, const std::function<Lane(Lanes&)>& f, std::size_t states) {
  if (slots.empty()) return;
  states = std::min(states, slots[0].state.size());
  enum : int { kU, kW, kG, kState };
  ElementwiseBuilder program;
  Lanes lanes{program.column(kW), program.column(kG), {}};
  const auto column = [](std::size_t k) { return kState + static_cast<int>(k); };
  for (std::size_t k = 0; k < states; ++k) lanes.state.push_back(program.column(column(k)));
  program.store(kU, f(lanes));
  for (std::size_t k = 0; k < states; ++k) program.store(column(k), lanes.state[k]);

  std::vector<ElementRow> rows;
  for (const Slot& s : slots) {
    rows.push_back({{s.u, s.w, s.g}});
    rows.back().columns.insert(rows.back().columns.end(), s.state.begin(),
                               s.state.begin() + static_cast<std::ptrdiff_t>(states));
  }
  math::elementwise(program.program(), rows);
}

}  // namespace muonlab

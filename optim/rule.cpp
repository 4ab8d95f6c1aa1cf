#include "optim/rule.h"

#include "core/math.h"

namespace muonlab {

void for_elements(std::span<Slot> slots, const std::function<Lane(Lanes&)>& f) {
  if (slots.empty()) return;
  enum : int { kU, kW, kG, kState };
  ElementwiseBuilder program;
  Lanes lanes{program.column(kW), program.column(kG), {}};
  const auto states = static_cast<int>(slots[0].state.size());
  for (int k = 0; k < states; ++k) lanes.state.push_back(program.column(kState + k));
  program.store(kU, f(lanes));
  for (int k = 0; k < states; ++k)
    program.store(kState + k, lanes.state[static_cast<std::size_t>(k)]);

  std::vector<ElementRow> rows;
  for (const Slot& s : slots) {
    rows.push_back({{s.u, s.w, s.g}});
    rows.back().columns.insert(rows.back().columns.end(), s.state.begin(), s.state.end());
  }
  math::elementwise(program.program(), rows);
}

}  // namespace muonlab

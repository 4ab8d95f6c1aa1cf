#include "optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace muonlab {

double Schedule::factor(std::int64_t it) const {
  const auto i = static_cast<double>(it), n = static_cast<double>(horizon);
  const auto w = static_cast<double>(warmup);
  const double rise = it < warmup ? (i + 1) / (w + 1) : 1;
  // Share of the way from the end of the warm-up to the horizon.
  const double way = it < warmup ? 0 : it >= horizon ? 1 : (i - w) / (n - w);
  switch (kind) {
    case ScheduleKind::constant:
      return rise;
    case ScheduleKind::cosine:
      return rise * (min_factor + (1 - min_factor) * 0.5 * (1 + std::cos(std::numbers::pi * way)));
    case ScheduleKind::linear:
      return rise * (1 - way);
    case ScheduleKind::wsd:
      return it >= horizon ? 0 : std::min(rise, (n - i) / (cooldown * n));
  }
  return rise;
}

double Ramp::at(std::int64_t it) const {
  if (it >= over) return to;
  return from + (to - from) * static_cast<double>(it) / static_cast<double>(over);
}

std::string Ramp::str() const {
  return to_text(from) + "->" + to_text(to) + " over " + std::to_string(over);
}

OptionTable options(Schedule& schedule) {
  return OptionBuilder()
      .enumeration("schedule", schedule.kind, {"constant", "cosine", "linear", "wsd"},
                   "course of the learning rate after the warm-up")
      .integer("warmup", schedule.warmup, {.min = 0, .max = 1e9},
               "updates over which the learning rate rises to its peak")
      .number("lr_min_factor", schedule.min_factor, {.min = 0, .max = 1},
              "schedule cosine: share of the peak rate at the end of the run")
      .number("cooldown", schedule.cooldown, {.min = 0, .max = 1, .open_min = true},
              "schedule wsd: share of the run over which the rate falls to 0")
      .table();
}

}  // namespace muonlab

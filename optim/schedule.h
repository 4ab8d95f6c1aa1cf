#pragma once

#include <cstdint>

#include "core/options.h"

namespace muonlab {

enum class ScheduleKind : std::uint8_t { constant, cosine, linear, wsd };

/// Learning-rate factor over a run (algorithms.md 5.1). `it` is the 0-based update, N the horizon.
struct Schedule {
  ScheduleKind kind = ScheduleKind::cosine;
  std::int64_t warmup = 100;    ///< updates; the first has factor 1/(warmup + 1)
  std::int64_t horizon = 2000;  ///< N, updates
  double min_factor = 0.1;      ///< cosine: where it ends
  double cooldown = 0.1;        ///< wsd: share of N that decays to 0

  double factor(std::int64_t it) const;
};

/// The options "schedule", "warmup", "lr_min_factor", "cooldown" (the horizon is the run's length).
OptionTable options(Schedule& schedule);

}  // namespace muonlab

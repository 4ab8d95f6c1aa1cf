#pragma once

#include <cstdint>
#include <string>

#include "core/options.h"

namespace muonlab {

/// What the learning rate does after the warm-up.
enum class ScheduleKind : std::uint8_t {
  constant,
  cosine,  ///< half a cosine from 1 to `min_factor` at the horizon, which it keeps afterwards
  linear,  ///< straight to 0 at the horizon
  wsd,     ///< warm-up, stable, decay: constant, then straight to 0 over the last `cooldown` of the
           ///< run
};

/// Learning-rate factor over a run, a pure function of the update's number, so that a resumed run
/// needs no state. All start with the warm-up (it + 1)/(warmup + 1). A warm-up that is longer than
/// the run is legal, so that short trials of any preset work: such a run ends below the peak rate.
struct Schedule {
  ScheduleKind kind = ScheduleKind::cosine;
  std::int64_t warmup = 100;    ///< updates
  std::int64_t horizon = 2000;  ///< length of the run, updates
  double min_factor = 0.1;      ///< cosine only
  double cooldown = 0.1;        ///< wsd only: share of the horizon

  /// The factor of update `it`, which counts from 0. In [0, 1].
  double factor(std::int64_t it) const;
};

/// A number on its way from one value to another, straight over the first updates of a run; a pure
/// function of the update's number too.
struct Ramp {
  double from = 0, to = 0;
  std::int64_t over = 1;  ///< updates

  /// The value of update `it`, which counts from 0.
  double at(std::int64_t it) const;
  /// "0.85->0.95 over 300"
  std::string str() const;
};

/// The options "schedule", "warmup", "lr_min_factor", "cooldown" (the horizon is the run's length).
OptionTable options(Schedule& schedule);

}  // namespace muonlab

#include "optim/schedule.h"

#include <cmath>

#include "core/error.h"
#include "tests/support/catch.h"

using namespace muonlab;

namespace {

constexpr std::int64_t kWarmup = 10, kHorizon = 110;

Schedule schedule(ScheduleKind kind) {
  return {.kind = kind, .warmup = kWarmup, .horizon = kHorizon, .min_factor = 0.1, .cooldown = 0.2};
}

}  // namespace

TEST_CASE("every schedule warms up from 1/(W + 1) and reaches 1 at W") {
  for (const ScheduleKind kind :
       {ScheduleKind::constant, ScheduleKind::cosine, ScheduleKind::linear, ScheduleKind::wsd}) {
    const Schedule s = schedule(kind);
    INFO("schedule " << static_cast<int>(kind));
    CHECK(s.factor(0) == Approx(1.0 / 11));
    CHECK(s.factor(kWarmup - 1) == Approx(10.0 / 11));
    CHECK(s.factor(kWarmup) == Approx(1));
  }
}

TEST_CASE("schedules end where they should") {
  CHECK(schedule(ScheduleKind::constant).factor(kHorizon - 1) == 1);
  CHECK(schedule(ScheduleKind::constant).factor(10 * kHorizon) == 1);

  // One update before the end: 1 percent of the way is left.
  const Schedule cosine = schedule(ScheduleKind::cosine);
  CHECK(cosine.factor(60) == Approx(0.55));  // half-way
  CHECK(cosine.factor(kHorizon - 1) ==
        Approx(0.1 + 0.45 * (1 - std::cos(0.01 * 3.14159265358979))));
  CHECK(cosine.factor(kHorizon) == Approx(0.1));
  CHECK(cosine.factor(10 * kHorizon) == Approx(0.1));

  const Schedule linear = schedule(ScheduleKind::linear);
  CHECK(linear.factor(60) == Approx(0.5));
  CHECK(linear.factor(kHorizon - 1) == Approx(0.01));
  CHECK(linear.factor(kHorizon) == 0);
  CHECK(linear.factor(10 * kHorizon) == 0);

  // The last fifth: 22 updates from 88 on.
  const Schedule wsd = schedule(ScheduleKind::wsd);
  CHECK(wsd.factor(88) == Approx(1));
  CHECK(wsd.factor(99) == Approx(0.5));
  CHECK(wsd.factor(kHorizon - 1) == Approx(1.0 / 22));
  CHECK(wsd.factor(kHorizon) == 0);
}

TEST_CASE("schedules do not jump and stay in [0, 1]") {
  for (const ScheduleKind kind :
       {ScheduleKind::constant, ScheduleKind::cosine, ScheduleKind::linear, ScheduleKind::wsd}) {
    const Schedule s = schedule(kind);
    // The steepest part is the warm-up, 1/11 an update.
    for (std::int64_t it = 0; it < 2 * kHorizon; ++it) {
      CHECK(std::abs(s.factor(it + 1) - s.factor(it)) < 0.0911);
      CHECK((s.factor(it) >= 0 && s.factor(it) <= 1));
    }
  }
}

TEST_CASE("a run may be shorter than its warm-up") {
  for (const ScheduleKind kind :
       {ScheduleKind::constant, ScheduleKind::cosine, ScheduleKind::linear}) {
    const Schedule s{.kind = kind, .warmup = 100, .horizon = 5};
    CHECK(s.factor(0) == Approx(1.0 / 101));
    CHECK(s.factor(4) == Approx(5.0 / 101));
  }
  const Schedule none{.kind = ScheduleKind::cosine, .warmup = 0, .horizon = 1};
  CHECK(none.factor(0) == 1);
}

TEST_CASE("schedule options reject values out of range") {
  Schedule s;
  for (Option& o : options(s)) {
    INFO(o.name);
    CHECK_THROWS_AS(o.set("-1"), ConfigError);
    CHECK_THROWS_AS(o.set("nan"), ConfigError);
    CHECK_THROWS_AS(o.set("1e300"), ConfigError);
    o.set(o.fallback);
    CHECK(o.get() == o.fallback);
  }
}

#include "core/profile.h"

#include <algorithm>

namespace muonlab {
namespace {

thread_local Profile* t_active = nullptr;

}  // namespace

Profile::Profile() : previous_(t_active), rows_{{"other", 0, 0}}, mark_(Clock::now()) {
  t_active = this;
}

Profile::~Profile() { t_active = previous_; }

Profile* Profile::active() { return t_active; }

void Profile::count(double flops) {
  if (t_active) t_active->flops_ += flops;
}

std::vector<ProfileRow> Profile::rows() {
  charge();
  std::vector<ProfileRow> sorted = rows_;
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const ProfileRow& a, const ProfileRow& b) { return a.seconds > b.seconds; });
  return sorted;
}

void Profile::enter(std::string_view name) {
  charge();
  const std::size_t row = row_of(name);
  ++rows_[row].calls;
  stack_.push_back(row);
}

void Profile::leave() {
  charge();
  stack_.pop_back();
}

void Profile::charge() {
  const Clock::time_point now = Clock::now();
  rows_[stack_.empty() ? 0 : stack_.back()].seconds +=
      std::chrono::duration<double>(now - mark_).count();
  mark_ = now;
}

std::size_t Profile::row_of(std::string_view name) {
  // A run has some twenty names: a linear search beats a map.
  for (std::size_t i = 0; i < rows_.size(); ++i)
    if (rows_[i].name == name) return i;
  rows_.push_back({std::string(name), 0, 0});
  return rows_.size() - 1;
}

}  // namespace muonlab

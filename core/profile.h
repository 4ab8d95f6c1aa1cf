#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

// Where the time of a run goes, by name. Off unless a Profile lives on the thread: a ProfileScope
// then costs one branch. It reads the clock only, so a profiled run has the same bits.
namespace muonlab {

/// Time spent under one name.
struct ProfileRow {
  std::string name;
  double seconds = 0;      ///< self time: without the scopes nested inside
  std::int64_t calls = 0;  ///< how often the scope was entered
};

/// Records the scopes of the thread that made it, while it lives. Work handed to other threads
/// counts as the time that this thread takes for it, so the rows add up to wall-clock time.
class Profile {
 public:
  Profile();
  ~Profile();
  Profile(const Profile&) = delete;
  Profile& operator=(const Profile&) = delete;

  /// Adds floating-point operations to the count of the thread's profile, if there is one.
  static void count(double flops);
  /// Operations counted, those of core/math.h and core/linalg.h; a symmetric product counts half.
  double flops() const { return flops_; }

  /// Self time per name since construction, longest first. Time in no scope is the row "other".
  std::vector<ProfileRow> rows();

  /// The profile of the calling thread, or null.
  static Profile* active();

 private:
  friend class ProfileScope;
  using Clock = std::chrono::steady_clock;

  void enter(std::string_view name);
  void leave();
  void charge();
  std::size_t row_of(std::string_view name);

  Profile* previous_;
  double flops_ = 0;
  std::vector<ProfileRow> rows_;    // row 0 is "other"
  std::vector<std::size_t> stack_;  // open scopes, as rows
  Clock::time_point mark_;          // up to here time is charged
};

/// Charges the time of its life to `name`: `ProfileScope scope("linear");`.
class ProfileScope {
 public:
  explicit ProfileScope(std::string_view name) : profile_(Profile::active()) {
    if (profile_) profile_->enter(name);
  }
  ~ProfileScope() {
    if (profile_) profile_->leave();
  }
  ProfileScope(const ProfileScope&) = delete;
  ProfileScope& operator=(const ProfileScope&) = delete;

 private:
  Profile* profile_;
};

}  // namespace muonlab

#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "tests/cuda_emu/emulator.h"

namespace simt {

/// Set when the work it belongs to has run.
struct Done {
  bool reached = false;
  std::chrono::steady_clock::time_point time;
};

struct Work {
  std::function<void()> run;
  std::vector<std::shared_ptr<const Done>> after;  ///< what it waits for, in other streams
  std::shared_ptr<Done> done;
};

struct Stream {
  bool blocking = true;  ///< waits for the default stream, and that one for it
  std::deque<Work> queue;
  std::shared_ptr<const Done> last;  ///< of the work that was put into it last
};

struct Event {
  std::shared_ptr<const Done> done;  ///< null: never recorded
};

Stream* make_stream(bool blocking);
void destroy_stream(Stream* stream);
/// True for the default stream (null) and those that live.
bool is_stream(const Stream* stream);

/// Puts work into a stream that begins after `after`, if that is not null. Returns its end.
std::shared_ptr<const Done> enqueue_after(Stream* stream, std::shared_ptr<const Done> after,
                                          std::function<void()> work);
void wait_for(const std::shared_ptr<const Done>& done);
/// Runs one piece of work of any stream, as a device does while the host asks whether it is ready.
void make_progress();
/// Of a stream: what wait_for waits for to synchronise it.
std::shared_ptr<const Done> last_of(Stream* stream);

}  // namespace simt

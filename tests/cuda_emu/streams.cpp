#include "tests/cuda_emu/streams.h"

#include <algorithm>
#include <random>
#include <stdexcept>

namespace simt {

namespace {

struct AllStreams {
  Stream default_stream;
  std::vector<std::unique_ptr<Stream>> made;
};
AllStreams& all() {
  static AllStreams s;
  return s;
}

template <class F>
void for_each_stream(F f) {
  f(all().default_stream);
  for (auto& stream : all().made) f(*stream);
}

Stream& resolve(Stream* stream) { return stream != nullptr ? *stream : all().default_stream; }

std::mt19937_64& generator() {
  static std::uint64_t seed = config().seed;
  static std::mt19937_64 g(seed);
  if (seed != config().seed) g.seed(seed = config().seed);
  return g;
}

bool can_run(const Stream& stream) {
  if (stream.queue.empty()) return false;
  const auto& after = stream.queue.front().after;
  return std::all_of(after.begin(), after.end(), [](const auto& done) { return done->reached; });
}

void run_first(Stream& stream) {
  const Work work = std::move(stream.queue.front());
  stream.queue.pop_front();
  work.done->reached = true;  // also if it throws: nobody runs it again
  work.run();
  work.done->time = std::chrono::steady_clock::now();
}

// Runs one piece of work of a random stream; false if there is none that can run.
bool run_any() {
  std::vector<Stream*> ready;
  for_each_stream([&](Stream& s) {
    if (can_run(s)) ready.push_back(&s);
  });
  if (ready.empty()) return false;
  run_first(*ready[generator()() % ready.size()]);
  return true;
}

}  // namespace

Stream* make_stream(bool blocking) {
  all().made.push_back(std::make_unique<Stream>());
  all().made.back()->blocking = blocking;
  return all().made.back().get();
}

void destroy_stream(Stream* stream) {
  synchronise(stream);
  std::erase_if(all().made, [stream](const auto& s) { return s.get() == stream; });
}

bool is_stream(const Stream* stream) {
  return stream == nullptr || std::any_of(all().made.begin(), all().made.end(),
                                          [stream](const auto& s) { return s.get() == stream; });
}

std::shared_ptr<const Done> last_of(Stream* stream) { return resolve(stream).last; }

std::shared_ptr<const Done> enqueue_after(Stream* to, std::shared_ptr<const Done> after,
                                          std::function<void()> run) {
  Stream& stream = resolve(to);
  Work work{std::move(run), {}, std::make_shared<Done>()};
  const auto wait = [&work](const std::shared_ptr<const Done>& done) {
    if (done != nullptr) work.after.push_back(done);
  };
  wait(after);
  // The rule of the legacy default stream (CUDA C++ Programming Guide, "Implicit Synchronization").
  if (to == nullptr) {
    for (const auto& s : all().made)
      if (s->blocking) wait(s->last);
  } else if (stream.blocking) {
    wait(all().default_stream.last);
  }
  stream.last = work.done;
  const std::shared_ptr<const Done> done = work.done;
  stream.queue.push_back(std::move(work));
  if (config().streams == Streams::eager) wait_for(done);
  return done;
}

void enqueue(Stream* stream, std::function<void()> work) {
  enqueue_after(stream, nullptr, std::move(work));
}

void wait_for(const std::shared_ptr<const Done>& done) {
  while (done != nullptr && !done->reached)
    if (!run_any()) throw std::logic_error("streams of the CUDA emulation wait for each other");
}

void make_progress() { run_any(); }

void synchronise(Stream* stream) { wait_for(resolve(stream).last); }

void synchronise_all() {
  while (run_any()) {
  }
}

}  // namespace simt

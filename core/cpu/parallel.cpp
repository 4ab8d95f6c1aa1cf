// A team of threads that share the chunks of one job. OpenMP's own team was measured first and put
// aside: GCC's runtime spins for milliseconds at the end of every region, so that on a machine busy
// with other work training took 15 times longer than with this one, which spins for microseconds,
// then sleeps, and never waits for a helper that has not begun.
#include "core/cpu/parallel.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>
#include <vector>

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

namespace muonlab::cpu {
namespace {

constexpr int kSpins =
    2000;  // pauses before a waiting thread sleeps: 20 to 100 microseconds on x86

void relax() {
#if defined(__x86_64__) || defined(__i386__)
  _mm_pause();
#endif
}

/// Waits until `value` is no longer `old`.
void wait_for_change(const std::atomic<std::uint32_t>& value, std::uint32_t old) {
  for (int i = 0; i < kSpins; ++i) {
    if (value.load(std::memory_order_acquire) != old) return;
    relax();
  }
  value.wait(old, std::memory_order_acquire);
}

/// A share's word has 2 x 20 bits for chunks and 24 for the number of the job, which only a thread
/// that slept through 16 million jobs within one claim could mistake.
constexpr int kChunkBits = 20;
constexpr std::int64_t kMaxChunks = std::int64_t{1} << kChunkBits;
constexpr std::uint32_t kJobs = std::uint32_t{1} << (64 - 2 * kChunkBits);

thread_local bool inside = false;  // this thread is running a chunk

class Team {
 public:
  ~Team() { resize(0); }

  /// Runs a job with up to `helpers` threads beside the caller's. False if another thread's job is
  /// running: nothing was done.
  bool run(int helpers, std::int64_t n, std::int64_t grain, detail::Body body, const void* f) {
    const std::unique_lock lock(mutex_, std::try_to_lock);
    if (!lock) return false;
    if (helpers != static_cast<int>(helpers_.size())) resize(helpers);
    const std::int64_t chunks = chunk_count(n, grain), shares = helpers + 1;
    n_.store(n, std::memory_order_relaxed);
    grain_.store(grain, std::memory_order_relaxed);
    body_.store(body, std::memory_order_relaxed);
    f_.store(f, std::memory_order_relaxed);
    left_.store(static_cast<std::uint32_t>(chunks), std::memory_order_relaxed);
    const std::uint32_t job = job_.load(std::memory_order_relaxed) + 1;
    for (std::int64_t s = 0; s < shares; ++s)
      shares_[static_cast<std::size_t>(s)].left.store(
          Range{job, chunks * s / shares, chunks * (s + 1) / shares}.packed(),
          std::memory_order_release);
    job_.store(job, std::memory_order_seq_cst);  // before the look for sleepers in notify
    job_.notify_all();
    take_chunks(job, 0);
    for (std::uint32_t left; (left = left_.load(std::memory_order_acquire)) != 0;)
      wait_for_change(left_, left);
    return true;
  }

 private:
  /// Unclaimed chunks [begin, end) of a thread's share of a job, in one word.
  struct Range {
    std::uint32_t job;  // modulo kJobs
    std::int64_t begin, end;

    std::uint64_t packed() const {
      return std::uint64_t{job} << 2 * kChunkBits |
             static_cast<std::uint64_t>(begin) << kChunkBits | static_cast<std::uint64_t>(end);
    }
    static Range of(std::uint64_t packed) {
      return {static_cast<std::uint32_t>(packed >> 2 * kChunkBits),
              static_cast<std::int64_t>(packed >> kChunkBits & (kMaxChunks - 1)),
              static_cast<std::int64_t>(packed & (kMaxChunks - 1))};
    }
  };
  struct alignas(64) Share {
    std::atomic<std::uint64_t> left{0};
  };

  /// Runs chunks of a job until none is left: those of thread `me`, from the front, then
  /// the last ones of the others. In all jobs a thread has the same part, so that the rows of an
  /// activation that it wrote are in its own cache when it reads them.
  void take_chunks(std::uint32_t job, std::size_t me) {
    inside = true;
    for (std::size_t s = 0; s < shares_.size(); ++s)
      take_share(job, (me + s) % shares_.size(), s == 0);
    inside = false;
  }

  /// A chunk is claimed by exchanging a share's range; an empty one claims nothing, and a job
  /// cannot end while one of its chunks is unfinished, so what was read before a successful claim
  /// is that job's.
  void take_share(std::uint32_t job, std::size_t share, bool own) {
    std::atomic<std::uint64_t>& left = shares_[share].left;
    for (std::uint64_t seen = left.load(std::memory_order_acquire);;) {
      const std::int64_t n = n_.load(std::memory_order_relaxed);
      const std::int64_t grain = grain_.load(std::memory_order_relaxed);
      const detail::Body body = body_.load(std::memory_order_relaxed);
      const void* f = f_.load(std::memory_order_relaxed);
      Range range = Range::of(seen);
      if (range.begin == range.end || range.job != job % kJobs) return;
      const std::int64_t chunk = own ? range.begin++ : --range.end;
      if (!left.compare_exchange_weak(seen, range.packed(), std::memory_order_acq_rel,
                                      std::memory_order_acquire))
        continue;
      body(f, chunk * grain, std::min(n, (chunk + 1) * grain));
      if (left_.fetch_sub(1, std::memory_order_acq_rel) == 1) left_.notify_all();
      seen = left.load(std::memory_order_acquire);
    }
  }

  void help(std::size_t me) {
    for (std::uint32_t seen = 0;;) {
      wait_for_change(job_, seen);
      seen = job_.load(std::memory_order_acquire);
      if (stopping_.load(std::memory_order_acquire)) return;
      take_chunks(seen, me);
    }
  }

  void resize(int helpers) {
    stopping_.store(true, std::memory_order_release);
    job_.fetch_add(1, std::memory_order_release);
    job_.notify_all();
    for (std::thread& t : helpers_) t.join();
    helpers_.clear();
    stopping_.store(false, std::memory_order_release);
    shares_ = std::vector<Share>(static_cast<std::size_t>(helpers) + 1);
    for (std::size_t i = 1; i < shares_.size(); ++i) helpers_.emplace_back([this, i] { help(i); });
  }

  std::mutex mutex_;
  std::vector<std::thread> helpers_;
  std::vector<Share> shares_;  // of the caller, then of each helper
  std::atomic<bool> stopping_{false};
  std::atomic<std::uint32_t> job_{0};   // number of the newest job; helpers sleep on it
  std::atomic<std::uint32_t> left_{0};  // unfinished chunks; the caller sleeps on it
  std::atomic<std::int64_t> n_{0}, grain_{1};
  std::atomic<detail::Body> body_{nullptr};
  std::atomic<const void*> f_{nullptr};
};

std::atomic<int> thread_count{0};

}  // namespace

void set_threads(int n) { thread_count = std::max(1, n); }

int threads() {
  if (thread_count == 0)
    thread_count = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  return thread_count;
}

namespace detail {

void run_chunks(std::int64_t n, std::int64_t grain, Body body, const void* f) {
  static Team team;
  const std::int64_t chunks = chunk_count(n, grain);
  if (chunks > 1 && chunks < kMaxChunks && threads() > 1 && !inside &&
      team.run(threads() - 1, n, grain, body, f))
    return;
  for (std::int64_t c = 0; c < chunks; ++c) body(f, c * grain, std::min(n, (c + 1) * grain));
}

}  // namespace detail
}  // namespace muonlab::cpu

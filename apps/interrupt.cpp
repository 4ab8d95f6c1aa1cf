#include "apps/interrupt.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <initializer_list>
#include <thread>

namespace muonlab {
namespace {

using Clock = std::chrono::steady_clock;

// `timeout` signals its child and then the group that the child is in: that is one interruption.
constexpr std::chrono::milliseconds kSameMoment{50};

std::atomic<bool> g_interrupted{false};

}  // namespace

// A thread of its own waits for the signals, and no other takes them: oneDNN's AVX-512 kernels keep
// live data below the stack's red zone, where the frame of a signal handler would overwrite it.
void catch_interrupts() {
  sigset_t watched;
  sigemptyset(&watched);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction inherited {};
    ::sigaction(signal, nullptr, &inherited);
    if (inherited.sa_handler != SIG_IGN) sigaddset(&watched, signal);  // nohup ignores SIGHUP
  }
  ::pthread_sigmask(SIG_BLOCK, &watched, nullptr);
  std::thread([watched] {
    Clock::time_point first;
    for (int signal = 0;;) {
      if (::sigwait(&watched, &signal) != 0) continue;
      if (!g_interrupted.exchange(true))
        first = Clock::now();
      else if (Clock::now() - first > kSameMoment)
        ::_exit(130);
    }
  }).detach();
}

bool interrupted() { return g_interrupted; }

}  // namespace muonlab

#include "apps/interrupt.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <initializer_list>
#include <thread>

namespace muonlab {
namespace {

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
    for (int signal = 0;;)
      if (::sigwait(&watched, &signal) == 0 && g_interrupted.exchange(true)) ::_exit(130);
  }).detach();
}

bool interrupted() { return g_interrupted; }

}  // namespace muonlab

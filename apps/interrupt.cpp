#include "apps/interrupt.h"

#include <signal.h>
#include <unistd.h>

#include <initializer_list>

namespace muonlab {
namespace {

volatile sig_atomic_t g_interrupted = 0;

void note(int) {
  if (g_interrupted) ::_exit(130);
  g_interrupted = 1;
}

}  // namespace

void catch_interrupts() {
  struct sigaction action {};
  action.sa_handler = note;
  action.sa_flags = SA_RESTART;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) ::sigaction(signal, &action, nullptr);
}

bool interrupted() { return g_interrupted != 0; }

}  // namespace muonlab

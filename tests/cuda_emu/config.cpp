#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <string>

#include "tests/cuda_emu/control.h"

namespace simt {

namespace {

bool apply(const std::string& word, Config& c) {
  if (word == "forward")
    c.order = Order::forward;
  else if (word == "reverse")
    c.order = Order::reverse;
  else if (word == "random")
    c.order = Order::random;
  else if (word == "eager")
    c.streams = Streams::eager;
  else if (word == "lazy")
    c.streams = Streams::lazy;
  else
    return std::sscanf(word.c_str(), "seed=%lu", &c.seed) == 1 ||
           std::sscanf(word.c_str(), "devices=%d", &c.devices) == 1 ||
           std::sscanf(word.c_str(), "bytes=%zu", &c.device_bytes) == 1;
  return true;
}

Config from_environment() {
  Config c;
  const char* text = std::getenv("MUONLAB_EMULATION");
  std::istringstream words(text != nullptr ? text : "");
  for (std::string word; words >> word;) {
    if (apply(word, c)) continue;
    std::fprintf(stderr,
                 "MUONLAB_EMULATION: \"%s\" is none of forward, reverse, random, eager, lazy, "
                 "seed=NUMBER, devices=NUMBER, bytes=NUMBER\n",
                 word.c_str());
    std::exit(2);
  }
  return c;
}

}  // namespace

Config& config() {
  static Config c = from_environment();
  return c;
}

}  // namespace simt

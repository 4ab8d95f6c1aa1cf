// What a report says, and what becomes of one that nobody takes; the environment variable.

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "tests/cuda_emu/device.h"
#include "tests/cuda_emu/kernels.h"
#include "tests/cuda_emu/selftest.cuh"
#include "tests/support/catch.h"

using namespace selftest;

namespace {

struct Outcome {
  int exit_code;
  std::string output;
};

// Runs this program again, with one of the hidden tests below.
Outcome run_again(const std::string& environment, const std::string& test) {
  const std::string command = "MUONLAB_EMULATION='" + environment + "' /proc/" +
                              std::to_string(getpid()) + "/exe " + test + " 2>&1";
  Outcome outcome{-1, ""};
  FILE* pipe = popen(command.c_str(), "r");
  REQUIRE(pipe != nullptr);
  char buffer[1000];
  while (const std::size_t n = std::fread(buffer, 1, sizeof buffer, pipe))
    outcome.output.append(buffer, n);
  const int status = pclose(pipe);
  if (WIFEXITED(status)) outcome.exit_code = WEXITSTATUS(status);
  return outcome;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// 64 threads on 32 numbers.
void launch_beyond() {
  static const DeviceArray<float> x(32);
  launch(kern::fill, 1, 64, 0, nullptr, x.get(), 1.0f);
}

}  // namespace

TEST_CASE("hidden: prints the configuration", "[.print_config]") {
  const auto& c = simt::config();
  std::printf("order %d streams %d seed %d devices %d bytes %zu\n", int(c.order), int(c.streams),
              int(c.seed), c.devices, c.device_bytes);
}
TEST_CASE("hidden: a report that nobody takes", "[.nobody_takes]") { launch_beyond(); }
TEST_CASE("hidden: a report that somebody takes", "[.somebody_takes]") {
  launch_beyond();
  CHECK(simt::take_reports().size() == 1);
}

TEST_CASE("the environment variable") {
  CHECK(contains(run_again("", "[.print_config]").output,
                 "order 0 streams 0 seed 1 devices 1 bytes 1073741824\n"));
  CHECK(contains(run_again("lazy random seed=7", "[.print_config]").output,
                 "order 2 streams 1 seed 7 "));
  CHECK(contains(run_again("reverse eager", "[.print_config]").output, "order 1 streams 0 seed 1"));
  CHECK(contains(run_again("devices=0 bytes=5000", "[.print_config]").output,
                 "devices 0 bytes 5000\n"));
  const auto wrong = run_again("revers", "[.print_config]");
  CHECK(wrong.exit_code == 2);
  CHECK(contains(wrong.output, "\"revers\" is none of forward, reverse"));
}

TEST_CASE("a report that nobody takes makes the program fail") {
  const auto failed = run_again("", "[.nobody_takes]");
  CHECK(failed.exit_code == 1);
  CHECK(contains(failed.output, "reports that no test took"));
  CHECK(
      contains(failed.output, "out-of-bounds: write of 4 bytes at byte 128 of device allocation"));
  CHECK(run_again("", "[.somebody_takes]").exit_code == 0);
}

TEST_CASE("a report says what, where and who, and what to look at") {
  const Emulation e;
  launch_beyond();
  const auto reports = simt::take_reports();
  REQUIRE(reports.size() == 1);
  const auto& r = reports[0];
  CHECK(r.kernel == "fill");
  CHECK(r.where.find("kernels.cu:") == 0);
  CHECK(r.against == "");
  CHECK(contains(r.text, "write of 4 bytes at byte 128 of device allocation"));
  CHECK(contains(r.text, "(128 bytes)"));
  CHECK(contains(r.text, "at " + r.where));
  CHECK(contains(r.text, "kernel fill, block (0,0,0), thread (32,0,0)"));
  CHECK(contains(r.text, "Check the bounds"));
}

TEST_CASE("a report is made once for each place, until it is taken") {
  const Emulation e;
  for (int i = 0; i < 3; ++i) launch_beyond();
  CHECK(simt::take_reports().size() == 1);
  launch_beyond();
  CHECK(simt::take_reports().size() == 1);
  CHECK(simt::take_reports().empty());
}

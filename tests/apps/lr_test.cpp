#include <cmath>

#include "tests/apps/program.h"

using namespace muonlab::test;

namespace {

double number(const std::string& json, const std::string& key) {
  return std::stod(field(json, key));
}

}  // namespace

TEST_CASE("a rate is translated so that the update stays the same") {
  // 384 x 128, by hand from the lengths sqrt(3), sqrt(3), .2 sqrt(384), sqrt(384) and 1.
  const std::string json =
      run_well({"lr", "--lr", "0.02", "--from", "spectral", "--shape", "384x128", "--json"});
  CHECK(number(json, "spectral") == Approx(0.02));
  CHECK(number(json, "spectral_full") == Approx(0.02));
  CHECK(number(json, "rms") == Approx(0.02 / (0.2 * std::sqrt(128))));
  CHECK(number(json, "adam") == number(json, "rms"));
  CHECK(number(json, "sqrtmax") == Approx(0.02 / std::sqrt(128)));
  CHECK(number(json, "none") == Approx(0.02 * std::sqrt(3)));
  CHECK(number(json, "update_rms") == Approx(0.02 / std::sqrt(128)));
  // A wide one, and the way back.
  const std::string wide =
      run_well({"lr", "--lr", "0.02", "--from", "none", "--shape", "128x512", "--json"});
  CHECK(number(wide, "spectral") == Approx(0.02));
  CHECK(number(wide, "spectral_full") == Approx(0.04));
  CHECK(number(run_well({"lr", "--lr", fmt::format("{:.17g}", number(wide, "rms")), "--from", "rms",
                         "--shape", "128x512", "--json"}),
               "none") == Approx(0.02).epsilon(1e-14));
  const std::string text = run_well({"lr", "--shape", "384x128"});
  for (const std::string part : {"kappa sqrt(cols) rate_rms, here 2.26274", "0.00883883"})
    CHECK(contains(text, part));
}

TEST_CASE("the predicted update is the one that a model makes, by every convention") {
  for (const std::string from : {"spectral", "spectral_full", "rms", "sqrtmax", "none"}) {
    const std::string json =
        run_well({"lr", "--lr", "0.02", "--from", from, "--preset", "tiny", "--json"});
    INFO(json);
    CHECK(count_of(json, "\"shape\": ") == 3);
    std::string rest = json;
    while (contains(rest, "\"first\"")) {
      rest = rest.substr(rest.find("\"first\"") + 7);
      // Newton-Schulz leaves singular values within .68 and 1.13, and gradients of a few windows
      // lack some directions. Lengths of the conventions differ by more than twice.
      const double ratio = number(rest, "measured_rms") / number(rest, "update_rms");
      CHECK((ratio > 0.6 && ratio < 1.14));
    }
  }
  // Adam's first update is the sign of the gradient.
  const std::string adam =
      run_well({"lr", "--from", "adam", "--lr", "0.001", "--preset", "tiny", "--json"});
  CHECK(number(adam, "measured_rms") == Approx(0.001).epsilon(0.01));
}

TEST_CASE("what lr cannot answer is said") {
  check_error(run({"lr"}), 2, {"--shape 384x128 or --preset"});
  check_error(run({"lr", "--shape", "3x4", "--preset", "tiny"}), 2, {"either"});
  check_error(run({"lr", "--shape", "384"}), 2, {"'384'", "rows x cols"});
  check_error(run({"lr", "--shape", "384x0"}), 2, {"shape (cols): '0'"});
  check_error(run({"lr", "--from", "kelly", "--shape", "3x4"}), 2, {"'kelly'", "expected one of"});
  check_error(run({"lr", "--lr", "0", "--shape", "3x4"}), 2, {"--lr: '0'"});
  check_error(run({"lr", "--preset", "tinny"}), 2, {"did you mean 'tiny'?"});
}

#include "core/profile.h"

#include <chrono>
#include <map>
#include <thread>

#include "core/elementwise.h"
#include "core/linalg.h"
#include "core/math.h"
#include "tests/support/catch.h"

using namespace muonlab;

namespace {

void spin(double seconds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (std::chrono::steady_clock::now() < end) {
  }
}

std::map<std::string, ProfileRow> by_name(Profile& profile) {
  std::map<std::string, ProfileRow> rows;
  for (const ProfileRow& row : profile.rows()) rows[row.name] = row;
  return rows;
}

}  // namespace

TEST_CASE("a profile counts the operations of products, programs and sums") {
  const Tensor a = Tensor::zeros({3, 5}), b = Tensor::zeros({3, 5}), x = Tensor::zeros({7});
  Tensor c = Tensor::zeros({3, 3}), y = Tensor::zeros({7});
  const auto counted = [&](const auto& f) {
    const Profile profile;
    f();
    return profile.flops();
  };
  using math::Op;
  CHECK(counted([&] { math::gemm(c, a, Op::plain, b, Op::transposed); }) == 2 * 3 * 3 * 5);
  CHECK(counted([&] { math::gemm(c, a, Op::plain, a, Op::transposed, 1, 0, true); }) == 3 * 3 * 5);
  CHECK(counted([&] { math::axpby(y, 2, x, 3); }) == 3 * 7);
  CHECK(counted([&] { math::sum_squares(x); }) == 2 * 7);
  CHECK(counted([&] { linalg::eigenvectors(std::vector{c}, std::vector{c}); }) == 9 * 27);
  CHECK(counted([&] {
          ElementwiseBuilder f;
          f.store(0, sqrt(lerp(f.column(0), f.column(1), 0.5)));
          math::elementwise(f.program(), std::vector<ElementRow>{{{y, x}}});
        }) == 4 * 7);
}

TEST_CASE(
    "a profile charges self time to the innermost scope, and all rows add up to the wall clock") {
  const auto start = std::chrono::steady_clock::now();
  Profile profile;
  {
    ProfileScope outer("outer");
    spin(2e-3);
    for (int i = 0; i < 2; ++i) {
      ProfileScope inner("inner");
      spin(2e-3);
    }
  }
  spin(2e-3);
  const auto rows = by_name(profile);
  const double wall =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();

  REQUIRE(rows.size() == 3);
  CHECK(rows.at("outer").calls == 1);
  CHECK(rows.at("inner").calls == 2);
  // A spin never ends early, so each row has at least what was spun inside it.
  CHECK(rows.at("outer").seconds >= 2e-3);
  CHECK(rows.at("inner").seconds >= 4e-3);
  CHECK(rows.at("other").seconds >= 2e-3);
  const double total =
      rows.at("outer").seconds + rows.at("inner").seconds + rows.at("other").seconds;
  CHECK(total <= wall);
  CHECK(total >= 8e-3);
}

TEST_CASE("scopes without a profile, or on another thread than the profile's, leave no row") {
  { ProfileScope nothing("before"); }
  Profile profile;
  std::thread([] { ProfileScope other("elsewhere"); }).join();
  CHECK(by_name(profile).size() == 1);
}

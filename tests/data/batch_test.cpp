#include "data/batch.h"

#include <set>

#include "core/error.h"
#include "data/source.h"
#include "tests/support/catch.h"

using namespace muonlab;

namespace {

struct Numbers final : ByteStore {
  std::vector<std::uint16_t> values;
};

// Tokens whose value is their position.
Tokens count_to(std::size_t n) {
  const auto numbers = std::make_shared<Numbers>();
  for (std::size_t i = 0; i < n; ++i) numbers->values.push_back(static_cast<std::uint16_t>(i));
  return open_tokens(numbers, numbers->values, "numbers", 65536, "");
}

std::vector<std::int32_t> values(const Tensor& t) {
  const auto v = t.host<std::int32_t>();
  return {v.begin(), v.end()};
}

}  // namespace

TEST_CASE("batch: targets are the next tokens of windows inside the text") {
  const Tokens tokens = count_to(1000).slice(100, 200);
  std::set<std::int32_t> starts;
  for (std::int64_t step = 0; step < 200; ++step) {
    const Batch batch = training_batch(tokens, 4, 9, 1, step, 0);
    REQUIRE(batch.ids.shape() == Shape{4, 9});
    REQUIRE(batch.targets.shape() == Shape{4, 9});
    const auto ids = values(batch.ids), targets = values(batch.targets);
    for (std::size_t i = 0; i < ids.size(); ++i) {
      REQUIRE(targets[i] == ids[i] + 1);
      REQUIRE(ids[i] == ids[i / 9 * 9] + static_cast<std::int32_t>(i % 9));
    }
    for (std::size_t b = 0; b < 4; ++b) starts.insert(ids[9 * b]);
  }
  // 100 tokens hold 91 windows of 9 tokens and a target; 800 draws miss one of them with
  // probability below 91 (1 - 1/91)^800 = 1.4 %, and this seed misses none.
  CHECK(starts.size() == 91);
  CHECK(*starts.begin() == 100);
  CHECK(*starts.rbegin() == 190);
}

TEST_CASE("batch: a pure function of seed, step and micro-batch") {
  const Tokens tokens = count_to(60000);
  const auto ids = [&](std::uint64_t seed, std::int64_t step, std::int64_t micro) {
    return values(training_batch(tokens, 3, 5, seed, step, micro).ids);
  };
  const auto reference = ids(7, 11, 2);
  ids(1, 1, 1);
  CHECK(ids(7, 11, 2) == reference);
  CHECK(ids(8, 11, 2) != reference);
  CHECK(ids(7, 12, 2) != reference);
  CHECK(ids(7, 11, 3) != reference);
  // Accumulating micro-batches sees what one large batch sees.
  auto both = ids(7, 11, 0);
  const auto second = ids(7, 11, 1);
  both.insert(both.end(), second.begin(), second.end());
  CHECK(values(training_batch(tokens, 6, 5, 7, 11, 0).ids) == both);
}

TEST_CASE("batch: windows cover a split once, in order") {
  for (const std::size_t n : {0u, 1u, 5u, 6u, 10u, 11u, 12u, 100u}) {
    const Tokens tokens = count_to(n);
    const std::int64_t count = window_count(tokens, 5);
    CHECK(count == (n == 0 ? 0 : static_cast<std::int64_t>((n - 1) / 5)));
    if (count == 0) continue;
    const Batch all = windows(tokens, 5, 0, count);
    const auto ids = values(all.ids), targets = values(all.targets);
    for (std::size_t i = 0; i < ids.size(); ++i) {
      REQUIRE(ids[i] == static_cast<std::int32_t>(i));
      REQUIRE(targets[i] == static_cast<std::int32_t>(i) + 1);
    }
    CHECK(values(windows(tokens, 5, count - 1, 1).ids)[0] == 5 * (count - 1));
    CHECK_THROWS_AS(windows(tokens, 5, count, 1), ShapeError);
  }
}

TEST_CASE("batch: a text that is too short is a configuration error that says so") {
  const Tokens ten = count_to(10);
  CHECK_NOTHROW(training_batch(ten, 2, 9, 1, 0, 0));
  CHECK_THROWS_AS(training_batch(ten, 2, 10, 1, 0, 0), ConfigError);
  Corpus corpus;
  corpus.train = count_to(100);
  corpus.val = ten;
  CHECK_NOTHROW(check_block_size(corpus, 9));
  try {
    check_block_size(corpus, 64);
    FAIL("no error");
  } catch (const ConfigError& error) {
    CHECK(std::string(error.what()) ==
          "the validation split holds 10 tokens, but block_size 64 needs at least 65: choose a "
          "smaller --block_size or "
          "a longer text");
  }
}

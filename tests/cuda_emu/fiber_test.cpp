#include "tests/cuda_emu/fiber.h"

#include <cstdint>
#include <vector>

#include "tests/support/catch.h"

using simt::Context;
using simt::Fiber;

// Compiled twice: for the switch of this machine, and for ucontext.
namespace {

Context host;
Context* self = nullptr;
std::vector<int> log_;

void yield() { switch_context(*self, host); }

void run(Fiber& fiber) {
  self = &fiber.context;
  switch_context(host, fiber.context);
}

void count() {
  for (int i = 0;; ++i) {
    log_.push_back(i);
    yield();
  }
}

// More live values than there are registers, so that some are in those that a switch must keep.
std::uint64_t result = 0;
double result_double = 0;
void keep_values() {
  volatile std::uint64_t seed = 7;
  std::uint64_t a = seed, b = a * 3, c = b * 5, d = c * 7, e = d * 11, f = e * 13, g = f * 17;
  double x = double(a) / 3, y = x / 7, z = y / 11;
  for (int i = 0; i < 4; ++i) {
    yield();
    a += b, b += c, c += d, d += e, e += f, f += g, g += a;
    x += y, y += z, z += x;
  }
  result = a ^ b ^ c ^ d ^ e ^ f ^ g;
  result_double = x + y + z;
  for (;;) yield();
}

const char* local = nullptr;
bool aligned = false;
void show_stack() {
  alignas(16) char mine[64];
  local = mine;
  aligned = reinterpret_cast<std::uintptr_t>(mine) % 16 == 0;
  for (;;) yield();
}

}  // namespace

TEST_CASE("fibers take turns and go on where they stopped") {
  log_.clear();
  Fiber a(count), b(count);
  run(a);
  run(a);
  run(b);
  run(a);
  run(b);
  CHECK(log_ == std::vector<int>{0, 1, 0, 2, 1});
}

TEST_CASE("a fiber that was reset begins again") {
  log_.clear();
  Fiber a(count);
  run(a);
  run(a);
  a.reset();
  run(a);
  CHECK(log_ == std::vector<int>{0, 1, 0});
}

TEST_CASE("values survive a switch, in the fiber and in its host") {
  Fiber alone(keep_values);
  for (int i = 0; i < 5; ++i) run(alone);
  const std::uint64_t want = result;
  const double want_double = result_double;
  Fiber a(keep_values), b(keep_values);
  volatile std::uint64_t seed = 1;
  std::uint64_t p = seed, q = p + 1, r = q + 1, s = r + 1, t = s + 1, u = t + 1;
  for (int i = 0; i < 5; ++i) {
    run(a);
    run(b);
    p += q, q += r, r += s, s += t, t += u, u += p;
  }
  CHECK(result == want);
  CHECK(result_double == want_double);
  std::uint64_t p2 = 1, q2 = 2, r2 = 3, s2 = 4, t2 = 5, u2 = 6;
  for (int i = 0; i < 5; ++i) p2 += q2, q2 += r2, r2 += s2, s2 += t2, t2 += u2, u2 += p2;
  CHECK((p ^ q ^ r ^ s ^ t ^ u) == (p2 ^ q2 ^ r2 ^ s2 ^ t2 ^ u2));
}

TEST_CASE("a fiber runs on its own stack, aligned as the ABI says") {
  Fiber a(show_stack);
  run(a);
  CHECK(local >= a.stack_begin());
  CHECK(local < a.stack_end());
  CHECK(aligned);
}

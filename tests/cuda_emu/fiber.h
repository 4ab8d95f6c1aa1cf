#pragma once

#include <cstddef>

#if !defined(__x86_64__) && !defined(SIMT_UCONTEXT)
#define SIMT_UCONTEXT
#endif
#ifdef SIMT_UCONTEXT
#include <ucontext.h>
#endif

namespace simt {

/// A point where code stopped, on a stack of its own. x86-64 has a hand-written switch, six times
/// as fast as ucontext, which makes a system call each time.
struct Context {
#ifdef SIMT_UCONTEXT
  ucontext_t ucontext;
#else
  void* stack_pointer = nullptr;
#endif
};

/// Makes a context that begins at `entry` when it is first switched to. `entry` must not return.
void make_context(Context& context, char* stack, std::size_t size, void (*entry)());

/// Saves the running code in `from` and goes on with `to`.
void switch_context(Context& from, Context& to);

/// A context with the stack that it runs on.
class Fiber {
 public:
  static constexpr std::size_t kStackBytes = std::size_t(128) << 10;

  explicit Fiber(void (*entry)());
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// Forgets what it was doing: it begins at its entry again.
  void reset();
  const char* stack_begin() const { return stack_; }
  const char* stack_end() const { return stack_ + kStackBytes; }

  Context context;

 private:
  void (*entry_)();
  char* stack_;  ///< the page below it cannot be touched, so that an overflow is noticed
};

}  // namespace simt

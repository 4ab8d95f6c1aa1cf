// What the compiler calls in instrumented files. The names and arguments are those of the runtimes
// of -fsanitize=thread and -fsanitize=undefined (LLVM compiler-rt: tsan_interface.h,
// ubsan_handlers.h).

#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "tests/cuda_emu/emulator.h"

#define SIMT_CODE __builtin_return_address(0)

using simt::Access;
using simt::on_access;

// ---- Loads and stores

namespace {

// The type promises less alignment than its size. nvcc then makes accesses of that alignment: words
// where it can be, bytes otherwise.
void in_pieces(Access access, const void* address, std::size_t size, const void* code) {
  const bool words = reinterpret_cast<std::uintptr_t>(address) % 4 == 0 && size % 4 == 0;
  const unsigned step = words ? 4 : 1;
  for (std::size_t i = 0; i < size; i += step)
    on_access(access, static_cast<const char*>(address) + i, step, code);
}

}  // namespace

extern "C" {

void __tsan_init() {}

#define SIMT_HOOKS(N)                                                        \
  void __tsan_read##N(void* p) { on_access(Access::read, p, N, SIMT_CODE); } \
  void __tsan_write##N(void* p) { on_access(Access::write, p, N, SIMT_CODE); }
SIMT_HOOKS(1)
SIMT_HOOKS(2)
SIMT_HOOKS(4)
SIMT_HOOKS(8)
SIMT_HOOKS(16)

#define SIMT_UNALIGNED_HOOKS(N)                                                        \
  void __tsan_unaligned_read##N(void* p) { in_pieces(Access::read, p, N, SIMT_CODE); } \
  void __tsan_unaligned_write##N(void* p) { in_pieces(Access::write, p, N, SIMT_CODE); }
SIMT_UNALIGNED_HOOKS(2)
SIMT_UNALIGNED_HOOKS(4)
SIMT_UNALIGNED_HOOKS(8)
SIMT_UNALIGNED_HOOKS(16)

void __tsan_read_range(void* p, std::size_t n) { in_pieces(Access::read, p, n, SIMT_CODE); }
void __tsan_write_range(void* p, std::size_t n) { in_pieces(Access::write, p, n, SIMT_CODE); }

// Constructors of classes with virtual functions, in host code.
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}

// Atomics of host code: shared_ptr and the like.
#define SIMT_HOST_ATOMICS(N, T)                                                                    \
  T __tsan_atomic##N##_load(const volatile T* p, int) {                                            \
    return __atomic_load_n(p, __ATOMIC_SEQ_CST);                                                   \
  }                                                                                                \
  void __tsan_atomic##N##_store(volatile T* p, T v, int) {                                         \
    __atomic_store_n(p, v, __ATOMIC_SEQ_CST);                                                      \
  }                                                                                                \
  T __tsan_atomic##N##_exchange(volatile T* p, T v, int) {                                         \
    return __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST);                                            \
  }                                                                                                \
  T __tsan_atomic##N##_fetch_add(volatile T* p, T v, int) {                                        \
    return __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST);                                             \
  }                                                                                                \
  T __tsan_atomic##N##_fetch_sub(volatile T* p, T v, int) {                                        \
    return __atomic_fetch_sub(p, v, __ATOMIC_SEQ_CST);                                             \
  }                                                                                                \
  int __tsan_atomic##N##_compare_exchange_strong(volatile T* p, T* expected, T v, int, int) {      \
    return __atomic_compare_exchange_n(p, expected, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
  }                                                                                                \
  int __tsan_atomic##N##_compare_exchange_weak(volatile T* p, T* expected, T v, int, int) {        \
    return __atomic_compare_exchange_n(p, expected, v, true, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);  \
  }
SIMT_HOST_ATOMICS(8, std::uint8_t)
SIMT_HOST_ATOMICS(32, std::uint32_t)
SIMT_HOST_ATOMICS(64, std::uint64_t)

// ---- Undefined behaviour

// What the data of every handler begins with.
struct UndefinedAt {
  const char* file;
  std::uint32_t line, column;
};

#define SIMT_UNDEFINED(NAME, FAULT, TEXT)                                     \
  void __ubsan_handle_##NAME(UndefinedAt* at) {                               \
    const simt::Site site{at->file, static_cast<int>(at->line)};              \
    simt::report(simt::Fault::FAULT, simt::Place(site), [] { return TEXT; }); \
  }
SIMT_UNDEFINED(add_overflow, undefined, "a signed sum overflows")
SIMT_UNDEFINED(sub_overflow, undefined, "a signed difference overflows")
SIMT_UNDEFINED(mul_overflow, undefined, "a signed product overflows")
SIMT_UNDEFINED(negate_overflow, undefined, "a negation overflows")
SIMT_UNDEFINED(shift_out_of_bounds, undefined, "a shift by more bits than there are")
SIMT_UNDEFINED(out_of_bounds, out_of_bounds, "an index is beyond its array")
SIMT_UNDEFINED(load_invalid_value, undefined, "a bool or enum has a value that it cannot have")
SIMT_UNDEFINED(pointer_overflow, undefined, "a pointer overflows")
SIMT_UNDEFINED(vla_bound_not_positive, undefined, "an array has no elements")
SIMT_UNDEFINED(nonnull_arg, undefined, "null is passed where it must not be")
SIMT_UNDEFINED(nonnull_return_v1, undefined, "null is returned where it must not be")
SIMT_UNDEFINED(type_mismatch_v1, undefined, "an object is too small for its type")
SIMT_UNDEFINED(invalid_builtin, undefined, "a count of the zero bits of 0")
#define SIMT_UNDEFINED_END(NAME, TEXT)                                            \
  [[noreturn]] void __ubsan_handle_##NAME(UndefinedAt* at) {                      \
    const simt::Site site{at->file, static_cast<int>(at->line)};                  \
    simt::report(simt::Fault::undefined, simt::Place(site), [] { return TEXT; }); \
    if (simt::now.thread >= 0) simt::abandon_block();                             \
    std::abort();                                                                 \
  }
// The processor would raise SIGFPE.
SIMT_UNDEFINED_END(divrem_overflow, "a division by zero, or one that overflows")
SIMT_UNDEFINED_END(builtin_unreachable, "code that cannot be reached is reached")
SIMT_UNDEFINED_END(missing_return, "a function ends without return")

}  // extern "C"

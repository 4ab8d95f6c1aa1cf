#pragma once

// What a kernel sees when g++ compiles it for the emulator: CUDA's device vocabulary as plain C++.
// cuda_runtime.h includes this. What is missing here is missing on purpose, so that a kernel which
// needs it fails to compile; tests/cuda_emu/README.md says what and why.

#include <math.h>  // not <cmath>: kernels call expf and isnan without std::

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n) alignas(n)
// No __shared__: g++ 12 ignores section attributes in templates, so a prefix could not tell the
// emulator where a variable is. MUONLAB_SHARED (cuda/device.cuh) becomes SIMT_SHARED below.

// ---- Vector types

#define SIMT_VECTOR_TYPES(T, NAME)                                   \
  struct NAME##1 {                                                   \
    T x;                                                             \
  };                                                                 \
  struct alignas(2 * sizeof(T)) NAME##2 {                            \
    T x, y;                                                          \
  };                                                                 \
  struct NAME##3 {                                                   \
    T x, y, z;                                                       \
  };                                                                 \
  struct alignas(4 * sizeof(T)) NAME##4 {                            \
    T x, y, z, w;                                                    \
  };                                                                 \
  inline NAME##2 make_##NAME##2(T x, T y) { return {x, y}; }         \
  inline NAME##3 make_##NAME##3(T x, T y, T z) { return {x, y, z}; } \
  inline NAME##4 make_##NAME##4(T x, T y, T z, T w) { return {x, y, z, w}; }
SIMT_VECTOR_TYPES(float, float)
SIMT_VECTOR_TYPES(int, int)
SIMT_VECTOR_TYPES(unsigned, uint)
SIMT_VECTOR_TYPES(unsigned short, ushort)
#undef SIMT_VECTOR_TYPES

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

// ---- The emulator's side of a kernel; all of it is in uninstrumented files

namespace simt {

/// A line of the kernel's source, taken where a barrier or warp operation is called.
struct Site {
  const char* file = nullptr;
  int line = 0;
};

enum class BarrierOp : std::uint8_t { sync, any, all, count };
enum class WarpOp : std::uint8_t {
  sync,
  shuffle,
  shuffle_up,
  shuffle_down,
  shuffle_xor,
  ballot,
  reduce
};

// "const": the same for the whole life of a thread, so the compiler may keep the answer.
__attribute__((const)) uint3 thread_idx() noexcept;
__attribute__((const)) uint3 block_idx() noexcept;
__attribute__((const)) dim3 block_dim() noexcept;
__attribute__((const)) dim3 grid_dim() noexcept;

/// Waits for all threads of the block that have not returned. Returns what `op` makes of their
/// predicates: 0 for sync, 0 or 1 for any and all, how many are not 0 for count.
int block_barrier(BarrierOp op, int predicate, Site site);

/// Adds *value to *sum, or takes the larger, and so on.
using Combine = void (*)(void* sum, const void* value);

/// One lane's part in a warp operation.
struct WarpRequest {
  WarpOp op = WarpOp::sync;
  unsigned mask = 0;          ///< the lanes that take part
  void* value = nullptr;      ///< in: this lane's value; out: its result. Null for sync
  unsigned size = 0;          ///< bytes of value, at most 8; 4 for ballot
  int argument = 0;           ///< of shuffles: source lane, distance or lane mask
  int width = 32;             ///< of shuffles: a power of two up to 32
  Combine combine = nullptr;  ///< of reduce
};
/// Waits for the lanes of the mask that have not returned, and exchanges values between them.
void warp_operation(const WarpRequest& request, Site site);

/// The block's dynamic shared memory.
unsigned char* dynamic_smem();

/// Tells the checker of an atomic read-modify-write that is about to happen.
void on_atomic(void* address, unsigned size, const void* code);

/// A static shared variable: its bounds and name, and what the checker knows of it.
struct SharedVariable {
  const char* name;
  void* data;
  std::size_t size, guard;  ///< guard: bytes before and behind it that nobody owns
  std::uint32_t block = 0;  ///< number of the block that used it last
  void* shadow = nullptr;
};
/// Called by every thread that gets to the declaration: a block's first one fills it with junk.
void enter_shared(SharedVariable& variable);

/// As large as the variable, within limits: a row too far is still found.
constexpr std::size_t shared_guard(std::size_t size) {
  return size < 64 ? 64 : size > 4096 ? 4096 : (size + 15) / 16 * 16;
}
template <class T>
struct SharedStorage {
  static_assert(std::is_trivially_default_constructible_v<T>, "shared memory has no constructors");
  unsigned char before[shared_guard(sizeof(T))];
  alignas(16) T value;
  unsigned char after[shared_guard(sizeof(T))];
};

struct Stream;

/// A kernel launch whose types are forgotten.
struct Launch {
  const void* kernel = nullptr;  ///< address of the C++ kernel
  dim3 grid, block;
  std::size_t dynamic_smem = 0;
  std::shared_ptr<void> parameters;  ///< the arguments, packed
  std::size_t parameters_size = 0;
  std::vector<void*> arguments;              ///< the address of each argument inside parameters
  void (*body)(void* parameters) = nullptr;  ///< calls the kernel: what one thread does
};
/// Puts the launch into the stream, or sets the error that cudaGetLastError returns.
void enqueue_launch(Launch launch, Stream* stream);

/// kernel<<<grid, block, smem, stream>>>(args...). (Not named launch: argument-dependent lookup
/// through cudaStream_t would make the project's own launch ambiguous.)
template <class... P, class... A>
void start(void (*kernel)(P...), dim3 grid, dim3 block, std::size_t smem, Stream* stream,
           A&&... args) {
  static_assert(sizeof...(P) == sizeof...(A), "wrong number of kernel arguments");
  static_assert((std::is_trivially_copyable_v<P> && ...), "kernel arguments are copied bytewise");
  struct Pack {
    void (*kernel)(P...);
    std::tuple<P...> arguments;
  };
  auto pack = std::make_shared<Pack>(Pack{kernel, {static_cast<P>(std::forward<A>(args))...}});
  Launch launch;
  launch.kernel = reinterpret_cast<const void*>(kernel);
  launch.grid = grid;
  launch.block = block;
  launch.dynamic_smem = smem;
  launch.parameters = pack;
  launch.parameters_size = sizeof(Pack);
  launch.arguments =
      std::apply([](auto&... x) { return std::vector<void*>{&x...}; }, pack->arguments);
  launch.body = [](void* parameters) {
    auto* p = static_cast<Pack*>(parameters);
    std::apply(p->kernel, p->arguments);
  };
  enqueue_launch(std::move(launch), stream);
}

}  // namespace simt

// Declares `name` of type T dims, for example SIMT_SHARED(float, tile, [16][17]).
#define SIMT_SHARED(T, name, dims)                                    \
  using simt_type_##name = T dims;                                    \
  static ::simt::SharedStorage<simt_type_##name> simt_storage_##name; \
  static constinit ::simt::SharedVariable simt_variable_##name{       \
      #name, &simt_storage_##name.value, sizeof(simt_type_##name),    \
      ::simt::shared_guard(sizeof(simt_type_##name))};                \
  ::simt::enter_shared(simt_variable_##name);                         \
  auto& name = simt_storage_##name.value

#define threadIdx (::simt::thread_idx())
#define blockIdx (::simt::block_idx())
#define blockDim (::simt::block_dim())
#define gridDim (::simt::grid_dim())
inline constexpr int warpSize = 32;

// ---- Barriers and warp operations

#define SIMT_SITE ::simt::Site site = {__builtin_FILE(), __builtin_LINE()}

inline void __syncthreads(SIMT_SITE) { simt::block_barrier(simt::BarrierOp::sync, 0, site); }
inline int __syncthreads_or(int p, SIMT_SITE) {
  return simt::block_barrier(simt::BarrierOp::any, p, site);
}
inline int __syncthreads_and(int p, SIMT_SITE) {
  return simt::block_barrier(simt::BarrierOp::all, p, site);
}
inline int __syncthreads_count(int p, SIMT_SITE) {
  return simt::block_barrier(simt::BarrierOp::count, p, site);
}

inline void __syncwarp(unsigned mask = 0xffffffffu, SIMT_SITE) {
  simt::warp_operation({.mask = mask}, site);
}

namespace simt {
template <class T>
T shuffle(WarpOp op, unsigned mask, T value, int argument, int width, Site site) {
  static_assert(sizeof(T) <= 8, "a shuffle moves at most 8 bytes");
  warp_operation({op, mask, &value, sizeof(T), argument, width}, site);
  return value;
}
template <class T>
T warp_reduce(unsigned mask, T value, Combine combine, Site site) {
  warp_operation({WarpOp::reduce, mask, &value, sizeof(T), 0, 32, combine}, site);
  return value;
}
}  // namespace simt

template <class T>
T __shfl_sync(unsigned mask, T value, int lane, int width = 32, SIMT_SITE) {
  return simt::shuffle(simt::WarpOp::shuffle, mask, value, lane, width, site);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned distance, int width = 32, SIMT_SITE) {
  return simt::shuffle(simt::WarpOp::shuffle_up, mask, value, int(distance), width, site);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned distance, int width = 32, SIMT_SITE) {
  return simt::shuffle(simt::WarpOp::shuffle_down, mask, value, int(distance), width, site);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32, SIMT_SITE) {
  return simt::shuffle(simt::WarpOp::shuffle_xor, mask, value, lanes, width, site);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, SIMT_SITE) {
  unsigned value = predicate != 0;
  simt::warp_operation({simt::WarpOp::ballot, mask, &value, sizeof value}, site);
  return value;
}
inline int __any_sync(unsigned mask, int predicate, SIMT_SITE) {
  return __ballot_sync(mask, predicate, site) != 0;
}
inline int __all_sync(unsigned mask, int predicate, SIMT_SITE) {
  return __ballot_sync(mask, !predicate, site) == 0;
}

#define SIMT_WARP_REDUCE(NAME, T, EXPRESSION)             \
  inline T NAME(unsigned mask, T value, SIMT_SITE) {      \
    auto combine = [](void* sum, const void* more) {      \
      T& a = *static_cast<T*>(sum);                       \
      const T b = *static_cast<const T*>(more);           \
      a = EXPRESSION;                                     \
    };                                                    \
    return simt::warp_reduce(mask, value, combine, site); \
  }
SIMT_WARP_REDUCE(__reduce_add_sync, unsigned, a + b)
SIMT_WARP_REDUCE(__reduce_add_sync, int, int(unsigned(a) + unsigned(b)))
SIMT_WARP_REDUCE(__reduce_min_sync, unsigned, a < b ? a : b)
SIMT_WARP_REDUCE(__reduce_min_sync, int, a < b ? a : b)
SIMT_WARP_REDUCE(__reduce_max_sync, unsigned, a > b ? a : b)
SIMT_WARP_REDUCE(__reduce_max_sync, int, a > b ? a : b)
SIMT_WARP_REDUCE(__reduce_or_sync, unsigned, a | b)
SIMT_WARP_REDUCE(__reduce_and_sync, unsigned, a& b)
#undef SIMT_WARP_REDUCE
#undef SIMT_SITE

// ---- Atomics, on integers only: sums of floats by atomics depend on the order of the threads

namespace simt {
template <class T>
concept AtomicInteger =
    std::same_as<T, int> || std::same_as<T, unsigned> || std::same_as<T, unsigned long long>;

// One thread runs at a time, so a plain read and write are atomic; they are in a function that is
// not instrumented, and the checker is told instead.
template <AtomicInteger T, class F>
__attribute__((no_sanitize("thread"), noinline)) T atomic_update(T* address, F next) {
  on_atomic(address, sizeof(T), __builtin_return_address(0));
  const T old = *address;
  *address = next(old);
  return old;
}
}  // namespace simt

#define SIMT_ATOMIC(NAME, EXPRESSION)                                          \
  template <simt::AtomicInteger T>                                             \
  __forceinline__ T NAME(T* address, std::type_identity_t<T> value) {          \
    return simt::atomic_update(address, [=](T old) { return T(EXPRESSION); }); \
  }
// The sum in unsigned long long: CUDA's wraps around.
SIMT_ATOMIC(atomicAdd,
            static_cast<unsigned long long>(old) + static_cast<unsigned long long>(value))
SIMT_ATOMIC(atomicMin, old < value ? old : value)
SIMT_ATOMIC(atomicMax, old > value ? old : value)
SIMT_ATOMIC(atomicAnd, old& value)
SIMT_ATOMIC(atomicOr, old | value)
SIMT_ATOMIC(atomicXor, old ^ value)
SIMT_ATOMIC(atomicExch, (static_cast<void>(old), value))
#undef SIMT_ATOMIC
template <simt::AtomicInteger T>
__forceinline__ T atomicCAS(T* address, std::type_identity_t<T> compare,
                            std::type_identity_t<T> value) {
  return simt::atomic_update(address, [=](T old) { return old == compare ? value : old; });
}

// ---- Loads, bits and arithmetic

template <class T>
__forceinline__ T __ldg(const T* p) {
  return *p;
}
template <class T>
__forceinline__ T __ldcs(const T* p) {
  return *p;
}
template <class T>
__forceinline__ void __stcs(T* p, std::type_identity_t<T> value) {
  *p = value;
}

namespace simt {
template <class To, class From>
To bits_as(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}
}  // namespace simt
inline int __float_as_int(float x) { return simt::bits_as<int>(x); }
inline unsigned __float_as_uint(float x) { return simt::bits_as<unsigned>(x); }
inline float __int_as_float(int x) { return simt::bits_as<float>(x); }
inline float __uint_as_float(unsigned x) { return simt::bits_as<float>(x); }

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(unsigned(x)); }
inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned((std::uint64_t(a) * b) >> 32); }

inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float __saturatef(float x) { return x > 0 ? (x < 1 ? x : 1.0f) : 0.0f; }
inline float __int2float_rn(int x) { return float(x); }
inline float __uint2float_rn(unsigned x) { return float(x); }
inline int __float2int_rn(float x) { return int(nearbyintf(x)); }
inline int __float2int_rz(float x) { return int(x); }

// glibc declares these names itself, and does not export them.
#define SIMT_FAST_MATH(NAME) \
  inline float simt_fast_##NAME(float x) { return ::NAME##f(x); }
SIMT_FAST_MATH(exp)
SIMT_FAST_MATH(exp10)
SIMT_FAST_MATH(log)
SIMT_FAST_MATH(log2)
SIMT_FAST_MATH(sin)
SIMT_FAST_MATH(cos)
#undef SIMT_FAST_MATH
inline float simt_fast_pow(float x, float y) { return ::powf(x, y); }
#define __expf simt_fast_exp
#define __exp10f simt_fast_exp10
#define __logf simt_fast_log
#define __log2f simt_fast_log2
#define __sinf simt_fast_sin
#define __cosf simt_fast_cos
#define __powf simt_fast_pow

template <class A, class B>
concept SimtArithmetic = std::is_arithmetic_v<A> && std::is_arithmetic_v<B>;
template <class A, class B>
requires SimtArithmetic<A, B>
constexpr std::common_type_t<A, B> min(A a, B b) {
  using T = std::common_type_t<A, B>;
  return T(b) < T(a) ? T(b) : T(a);
}
template <class A, class B>
requires SimtArithmetic<A, B>
constexpr std::common_type_t<A, B> max(A a, B b) {
  using T = std::common_type_t<A, B>;
  return T(a) < T(b) ? T(b) : T(a);
}

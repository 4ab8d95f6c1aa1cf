#include "core/cpu/activation.h"

#include "core/cpu/cpu_backend.h"
#include "core/cpu/parallel.h"

namespace muonlab::cpu {
namespace {

constexpr std::int64_t kGrain = 16384;  // elements a chunk: some microseconds of work

/// Calls body(i) for every element, in chunks.
template <class F>
void for_elements(std::int64_t n, const F& body) {
  parallel_for(n, kGrain, [&](std::int64_t begin, std::int64_t end) {
#pragma omp simd
    for (std::int64_t i = begin; i < end; ++i) body(i);
  });
}

}  // namespace

void CpuBackend::activation(const ActivationArgs& a) {
  with_type(a.x, [&](auto zero) {
    using T = decltype(zero);
    Tensor out = a.y;
    const T* x = a.x.data<T>();
    T* y = out.data<T>();
    parallel_for(out.numel(), kGrain, [&](std::int64_t begin, std::int64_t end) {
      apply_activation(a.kind, end - begin, x + begin, y + begin);
    });
  });
}

void CpuBackend::activation_backward(const ActivationBackwardArgs& a) {
  with_type(a.x, [&](auto zero) {
    using T = decltype(zero);
    Tensor dx_out = a.dx, y_out = a.y;
    const T *x = a.x.data<T>(), *dy = a.dy.data<T>(), beta = static_cast<T>(a.beta);
    T *dx = dx_out.data<T>(), *y = a.y.defined() ? y_out.data<T>() : nullptr;
    with_activation<T>(a.kind, [&](auto act) {
      if (y) {
        for_elements(dx_out.numel(), [=](std::int64_t i) {
          const Activated<T> at = act.at(x[i]);
          y[i] = at.value;
          dx[i] = dy[i] * at.slope + (beta == T(0) ? T(0) : beta * dx[i]);
        });
      } else {
        for_elements(dx_out.numel(), [=](std::int64_t i) {
          dx[i] = dy[i] * act.at(x[i]).slope + (beta == T(0) ? T(0) : beta * dx[i]);
        });
      }
    });
  });
}

}  // namespace muonlab::cpu

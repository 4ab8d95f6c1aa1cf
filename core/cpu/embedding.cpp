#include <algorithm>

#include "core/cpu/cpu_backend.h"
#include "core/cpu/parallel.h"

namespace muonlab::cpu {
namespace {

template <class T>
void embedding_typed(const EmbeddingArgs& a) {
  const std::int64_t time = a.ids.shape()[1], c = a.wte.shape()[1];
  const std::int32_t* ids = a.ids.data<std::int32_t>();
  const T* wte = a.wte.data<T>();
  const T* wpe = a.wpe.defined() ? a.wpe.data<T>() + a.position * c : nullptr;
  Tensor out = a.y;
  T* y = out.data<T>();
  parallel_for(a.ids.numel(), std::max<std::int64_t>(1, 16384 / std::max<std::int64_t>(c, 1)),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t r = begin; r < end; ++r) {
                   const T* token = wte + ids[r] * c;
                   T* row = y + r * c;
                   if (wpe) {
                     const T* position = wpe + r % time * c;
                     for (std::int64_t i = 0; i < c; ++i) row[i] = token[i] + position[i];
                   } else {
                     std::copy(token, token + c, row);
                   }
                 }
               });
}

template <class T>
void embedding_backward_typed(const EmbeddingBackwardArgs& a) {
  const std::int64_t batch = a.ids.shape()[0], time = a.ids.shape()[1], c = a.dy.shape()[-1];
  const std::int32_t* ids = a.ids.data<std::int32_t>();
  const T* dy = a.dy.data<T>();
  // Columns are independent, so threads share them, and each adds the rows in order.
  constexpr std::int64_t kColumns = 64;
  if (a.dwte.defined()) {
    Tensor out = a.dwte;
    if (a.beta_dwte == 0) out.fill(0);
    T* dwte = out.data<T>();
    parallel_for(c, kColumns, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = 0; r < batch * time; ++r) {
        T* row = dwte + ids[r] * c;
        for (std::int64_t i = begin; i < end; ++i) row[i] += dy[r * c + i];
      }
    });
  }
  if (a.dwpe.defined()) {
    Tensor out = a.dwpe;
    if (a.beta_dwpe == 0) out.fill(0);
    T* dwpe = out.data<T>() + a.position * c;
    parallel_for(c, kColumns, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = 0; r < batch * time; ++r)
        for (std::int64_t i = begin; i < end; ++i) dwpe[r % time * c + i] += dy[r * c + i];
    });
  }
}

}  // namespace

void CpuBackend::embedding(const EmbeddingArgs& a) {
  with_type(a.y, [&](auto zero) { embedding_typed<decltype(zero)>(a); });
}

void CpuBackend::embedding_backward(const EmbeddingBackwardArgs& a) {
  with_type(a.dy, [&](auto zero) { embedding_backward_typed<decltype(zero)>(a); });
}

}  // namespace muonlab::cpu

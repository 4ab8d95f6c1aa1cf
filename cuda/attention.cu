// Causal attention with a streaming softmax; the formulas are those of core/cpu/attention.cpp.
//
// A block of 16 x 16 threads owns a tile of rows of one head, kept in shared memory, and streams
// the rows of the other side through it, 32 at a time: the forward pass and dq own queries and
// stream keys, dk and dv own keys and stream queries. So every sum is made by one thread in a fixed
// order, and nothing is added to global memory. A product of two tiles is a small square for each
// thread: its rows are y + 16 i, its columns x + 16 j. Rows in shared memory are 4 floats longer
// than a head, so that 8 threads that read 16 bytes each from 8 rows meet all 32 banks.
#include <cmath>
#include <string>
#include <type_traits>

#include "core/error.h"
#include "cuda/cuda_backend.h"
#include "cuda/device.cuh"
#include "cuda/philox.cuh"

namespace muonlab::cuda {
namespace kern {

constexpr int kSide = 16, kThreads = kSide * kSide;
constexpr int kStreamed = 32;  // rows that stream through at a time
constexpr int kPerThread = kStreamed / kSide;

template <int D>
constexpr int kRow = D + 4;

__device__ __forceinline__ int thread_x() { return static_cast<int>(threadIdx.x % kSide); }
__device__ __forceinline__ int thread_y() { return static_cast<int>(threadIdx.x / kSide); }

/// Where the rows of one head lie: position t at data + t stride.
template <class T>
struct Head {
  T* data;
  std::int64_t stride;
};
/// Where the heads of a packed tensor lie: (batch, time, stride), head h of a row at offset + h D.
template <class T>
struct Heads {
  T* data;
  std::int64_t time, stride;
  __device__ __forceinline__ Head<T> at(std::int64_t b, std::int64_t h, int head_size) const {
    return {data + b * time * stride + h * head_size, stride};
  }
};

template <class T>
struct Attention {
  Heads<const T> q, k, v;
  std::int64_t heads, kv_heads, queries, keys;
  int head_size;
  float scale;
  DropoutMask mask;

  /// What dropout multiplies the probability of a key with.
  __device__ __forceinline__ float mask_of(std::int64_t b, std::int64_t h, std::int64_t query,
                                           std::int64_t key) const {
    const std::int64_t row = (b * heads + h) * queries + query;
    return mask_factor(mask, static_cast<std::uint64_t>(row * keys + key));
  }
};

/// tile[r] = row first + r of the head; zeros beyond row `end` and beyond the head's size.
template <int D, int Rows, class T>
__device__ __forceinline__ void load_rows(float* tile, Head<const T> head, std::int64_t first,
                                          std::int64_t end, int head_size) {
#pragma unroll 4
  for (int i = static_cast<int>(threadIdx.x); i < Rows * D; i += kThreads) {
    const int r = i / D, c = i % D;
    tile[r * kRow<D> + c] = first + r < end && c < head_size
                                ? static_cast<float>(head.data[(first + r) * head.stride + c])
                                : 0.0f;
  }
}

/// out[i][j] = a[y + 16 i] . b[x + 16 j]
template <int D, int R, int C>
__device__ __forceinline__ void multiply_rows(const float* a, const float* b, float (&out)[R][C]) {
  a += thread_y() * kRow<D>;
  b += thread_x() * kRow<D>;
#pragma unroll
  for (int i = 0; i < R; ++i)
#pragma unroll
    for (int j = 0; j < C; ++j) out[i][j] = 0;
#pragma unroll 4
  for (int d = 0; d < D; d += 4) {
    Vec<float, 4> u[R], w[C];
#pragma unroll
    for (int i = 0; i < R; ++i) u[i] = load_vec<4>(a + i * kSide * kRow<D> + d);
#pragma unroll
    for (int j = 0; j < C; ++j) w[j] = load_vec<4>(b + j * kSide * kRow<D> + d);
#pragma unroll
    for (int i = 0; i < R; ++i)
#pragma unroll
      for (int j = 0; j < C; ++j)
#pragma unroll
        for (int e = 0; e < 4; ++e) out[i][j] = fmaf(u[i].v[e], w[j].v[e], out[i][j]);
  }
}

/// The columns of a head-sized row that a thread has: groups of neighbours.
template <int D>
struct Columns {
  static constexpr int kCount = D / kSide, kVec = kCount < 4 ? kCount : 4;
  static constexpr int kGroups = kCount / kVec;
  /// Column number `i` of this thread.
  static __device__ __forceinline__ int at(int i) {
    return i / kVec * kVec * kSide + thread_x() * kVec + i % kVec;
  }
};

/// Where row y of the weights begins, for y < kSide; row y + kSide i is i kWeightRows further. Of
/// the two rows that a warp writes at a time, each has half of the banks.
__device__ __forceinline__ int weight_row(int y) {
  return y / 2 * (2 * kStreamed + kSide) + y % 2 * (kStreamed + kSide);
}
constexpr int kWeightRows = kSide / 2 * (2 * kStreamed + kSide);

/// out[i] += sum_s weights[y + 16 i][s] rows[s], for this thread's columns.
template <int D, int R>
__device__ __forceinline__ void add_weighted(const float* weights, const float* rows,
                                             float (&out)[R][D / kSide]) {
  using Own = Columns<D>;
  weights += weight_row(thread_y());
#pragma unroll 2
  for (int s = 0; s < kStreamed; s += 4) {
    Vec<float, 4> w[R];
#pragma unroll
    for (int i = 0; i < R; ++i) w[i] = load_vec<4>(weights + i * kWeightRows + s);
#pragma unroll
    for (int e = 0; e < 4; ++e)
#pragma unroll
      for (int g = 0; g < Own::kGroups; ++g) {
        const auto row = load_vec<Own::kVec>(rows + (s + e) * kRow<D> + Own::at(g * Own::kVec));
#pragma unroll
        for (int i = 0; i < R; ++i)
#pragma unroll
          for (int c = 0; c < Own::kVec; ++c)
            out[i][g * Own::kVec + c] = fmaf(w[i].v[e], row.v[c], out[i][g * Own::kVec + c]);
      }
  }
}

/// Writes a thread's square where add_weighted reads it: by the threads of the same warp alone.
template <int R>
__device__ __forceinline__ void share_weights(float* weights, const float (&w)[R][kPerThread]) {
  weights += weight_row(thread_y()) + thread_x();
#pragma unroll
  for (int i = 0; i < R; ++i)
#pragma unroll
    for (int j = 0; j < kPerThread; ++j) weights[i * kWeightRows + kSide * j] = w[i][j];
}

template <int D, int R>
__device__ __forceinline__ void zero(float (&x)[R][D / kSide]) {
#pragma unroll
  for (int i = 0; i < R; ++i)
#pragma unroll
    for (int c = 0; c < D / kSide; ++c) x[i][c] = 0;
}

/// Writes this thread's rows and columns of a tile, row first + y + 16 i times factor[i]. On the
/// way they go to `tile`, the block's own, so that neighbouring threads write neighbours: its rows
/// have been read by the warp that now writes them, and by no other.
template <int D, int R, class T>
__device__ __forceinline__ void store_rows(float* tile, Head<T> head, std::int64_t first,
                                           std::int64_t end, int head_size,
                                           const float (&x)[R][D / kSide],
                                           const float (&factor)[R]) {
  using Own = Columns<D>;
#pragma unroll
  for (int i = 0; i < R; ++i)
#pragma unroll
    for (int g = 0; g < Own::kGroups; ++g) {
      Vec<float, Own::kVec> part;
#pragma unroll
      for (int c = 0; c < Own::kVec; ++c) part.v[c] = x[i][g * Own::kVec + c] * factor[i];
      store_vec(tile + (thread_y() + kSide * i) * kRow<D> + Own::at(g * Own::kVec), part);
    }
  __syncwarp();
  constexpr int kRows = kWarp / kSide;  // of a warp
  const int lane = static_cast<int>(threadIdx.x % kWarp);
#pragma unroll
  for (int i = 0; i < R * kRows; ++i) {
    const int r = thread_y() / kRows * kRows + i % kRows + i / kRows * kSide;
    if (first + r >= end) continue;
    for (int c = lane; c < head_size; c += kWarp)
      head.data[(first + r) * head.stride + c] = static_cast<T>(tile[r * kRow<D> + c]);
  }
}

/// Grid: tiles of 16 R queries (the longest first), heads, batch. max_logit may be null.
template <int D, int R, bool Dropout, class T>
__global__ void __launch_bounds__(kThreads, 2)
    attention(Attention<T> a, Heads<T> y, float* __restrict__ lse, float* max_logit) {
  float* q_tile = dyn_smem<float>();
  float* k_tile = q_tile + kSide * R * kRow<D>;
  float* v_tile = k_tile + kStreamed * kRow<D>;
  float* weights = v_tile + kStreamed * kRow<D>;
  const std::int64_t h = blockIdx.y, b = blockIdx.z, g = h / (a.heads / a.kv_heads);
  const std::int64_t first = static_cast<std::int64_t>(gridDim.x - 1 - blockIdx.x) * (kSide * R);
  const std::int64_t past = a.keys - a.queries;
  const std::int64_t key_end = past + ::min(first + kSide * R, a.queries);
  load_rows<D, kSide * R>(q_tile, a.q.at(b, h, a.head_size), first, a.queries, a.head_size);
  float top[R], sum[R], out[R][D / kSide];  // sum: of this thread's keys alone
  zero<D, R>(out);
#pragma unroll
  for (int i = 0; i < R; ++i) {
    top[i] = -INFINITY;
    sum[i] = 0;
  }
  for (std::int64_t k0 = 0; k0 < key_end; k0 += kStreamed) {
    __syncthreads();  // the tiles have been read
    load_rows<D, kStreamed>(k_tile, a.k.at(b, g, a.head_size), k0, key_end, a.head_size);
    load_rows<D, kStreamed>(v_tile, a.v.at(b, g, a.head_size), k0, key_end, a.head_size);
    __syncthreads();
    float s[R][kPerThread];
    multiply_rows<D>(q_tile, k_tile, s);
#pragma unroll
    for (int i = 0; i < R; ++i) {
      const std::int64_t position = past + first + thread_y() + kSide * i;
      float tile_top = -INFINITY;
#pragma unroll
      for (int j = 0; j < kPerThread; ++j) {
        const std::int64_t key = k0 + thread_x() + kSide * j;
        s[i][j] = key <= position && key < key_end ? s[i][j] * a.scale : -INFINITY;
        tile_top = fmaxf(tile_top, s[i][j]);
      }
      // Every query sees key 0, so from the first tile on the maximum is finite.
      const float new_top = fmaxf(top[i], warp_reduce<kSide>(tile_top, Max{}));
      const float correction = expf(top[i] - new_top);
      top[i] = new_top;
      sum[i] *= correction;
#pragma unroll
      for (int j = 0; j < kPerThread; ++j) {
        s[i][j] = expf(s[i][j] - new_top);
        sum[i] += s[i][j];
        if constexpr (Dropout)
          s[i][j] *= a.mask_of(b, h, position - past, k0 + thread_x() + kSide * j);
      }
#pragma unroll
      for (int c = 0; c < D / kSide; ++c) out[i][c] *= correction;
    }
    share_weights<R>(weights, s);
    __syncwarp();
    add_weighted<D, R>(weights, v_tile, out);
  }
  float inverse[R], block_top = -INFINITY;
#pragma unroll
  for (int i = 0; i < R; ++i) {
    const float all = warp_reduce<kSide>(sum[i], Add{});
    inverse[i] = 1.0f / all;
    const std::int64_t row = first + thread_y() + kSide * i;
    if (row >= a.queries) continue;
    block_top = fmaxf(block_top, top[i]);
    if (thread_x() == 0) lse[(b * a.heads + h) * a.queries + row] = top[i] + logf(all);
  }
  store_rows<D, R>(q_tile, y.at(b, h, a.head_size), first, a.queries, a.head_size, out, inverse);
  if (!max_logit) return;
  block_top = warp_reduce(block_top, Max{});
  if (threadIdx.x % kWarp == 0) atomic_max(max_logit + h, block_top);
}

/// delta[b][h][t] = dy . y over the head, one warp each.
template <int Warps, class T>
__global__ void __launch_bounds__(Warps* kWarp)
    attention_delta(Heads<const T> y, Heads<const T> dy, float* __restrict__ delta,
                    std::int64_t heads, std::int64_t count, int head_size) {
  const std::int64_t row = global_index() / kWarp;
  if (row >= count) return;
  const std::int64_t t = row % y.time, h = row / y.time % heads, b = row / y.time / heads;
  const Head<const T> u = y.at(b, h, head_size), w = dy.at(b, h, head_size);
  float sum = 0;
  for (int c = static_cast<int>(threadIdx.x % kWarp); c < head_size; c += kWarp)
    sum +=
        static_cast<float>(u.data[t * u.stride + c]) * static_cast<float>(w.data[t * w.stride + c]);
  sum = warp_reduce(sum, Add{});
  if (threadIdx.x % kWarp == 0) delta[row] = sum;
}

template <class T>
struct Backward {
  Heads<const T> dy;
  const float *lse, *delta;  // (batch, heads, time)
};

/// Grid: tiles of 16 R keys (the one with the most queries first), groups, batch.
template <int D, int R, bool Dropout, class T>
__global__ void __launch_bounds__(kThreads, 2)
    attention_backward_kv(Attention<T> a, Backward<T> back, Heads<T> dk, Heads<T> dv) {
  float* k_tile = dyn_smem<float>();
  float* v_tile = k_tile + kSide * R * kRow<D>;
  float* q_tile = v_tile + kSide * R * kRow<D>;
  float* dy_tile = q_tile + kStreamed * kRow<D>;
  float* weights = dy_tile + kStreamed * kRow<D>;
  const std::int64_t g = blockIdx.y, b = blockIdx.z, group = a.heads / a.kv_heads;
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * (kSide * R);
  load_rows<D, kSide * R>(k_tile, a.k.at(b, g, a.head_size), first, a.keys, a.head_size);
  load_rows<D, kSide * R>(v_tile, a.v.at(b, g, a.head_size), first, a.keys, a.head_size);
  float dk_out[R][D / kSide], dv_out[R][D / kSide];
  zero<D, R>(dk_out);
  zero<D, R>(dv_out);
  for (std::int64_t h = g * group; h < (g + 1) * group; ++h) {
    const std::int64_t row = (b * a.heads + h) * a.queries;
    for (std::int64_t q0 = first; q0 < a.queries; q0 += kStreamed) {
      __syncthreads();  // the tiles have been read
      load_rows<D, kStreamed>(q_tile, a.q.at(b, h, a.head_size), q0, a.queries, a.head_size);
      load_rows<D, kStreamed>(dy_tile, back.dy.at(b, h, a.head_size), q0, a.queries, a.head_size);
      __syncthreads();
      float p[R][kPerThread], ds[R][kPerThread];
      multiply_rows<D>(k_tile, q_tile, p);
      multiply_rows<D>(v_tile, dy_tile, ds);
#pragma unroll
      for (int j = 0; j < kPerThread; ++j) {
        const std::int64_t query = q0 + thread_x() + kSide * j;
        const bool inside = query < a.queries;
        const float shift = inside ? back.lse[row + query] : 0;
        const float delta = inside ? back.delta[row + query] : 0;
#pragma unroll
        for (int i = 0; i < R; ++i) {
          const std::int64_t key = first + thread_y() + kSide * i;
          const bool seen = inside && key <= query;
          const float mask = Dropout ? a.mask_of(b, h, query, key) : 1.0f;
          const float weight = seen ? expf(p[i][j] * a.scale - shift) : 0.0f;
          p[i][j] = weight * mask;
          ds[i][j] = seen ? a.scale * weight * (ds[i][j] * mask - delta) : 0.0f;
        }
      }
      share_weights<R>(weights, p);
      __syncwarp();
      add_weighted<D, R>(weights, dy_tile, dv_out);
      __syncwarp();
      share_weights<R>(weights, ds);
      __syncwarp();
      add_weighted<D, R>(weights, q_tile, dk_out);
    }
  }
  float one[R];
#pragma unroll
  for (int i = 0; i < R; ++i) one[i] = 1;
  store_rows<D, R>(k_tile, dk.at(b, g, a.head_size), first, a.keys, a.head_size, dk_out, one);
  store_rows<D, R>(v_tile, dv.at(b, g, a.head_size), first, a.keys, a.head_size, dv_out, one);
}

/// Grid: tiles of 16 R queries (the longest first), heads, batch.
template <int D, int R, bool Dropout, class T>
__global__ void __launch_bounds__(kThreads, 2)
    attention_backward_q(Attention<T> a, Backward<T> back, Heads<T> dq) {
  float* q_tile = dyn_smem<float>();
  float* dy_tile = q_tile + kSide * R * kRow<D>;
  float* k_tile = dy_tile + kSide * R * kRow<D>;
  float* v_tile = k_tile + kStreamed * kRow<D>;
  float* weights = v_tile + kStreamed * kRow<D>;
  const std::int64_t h = blockIdx.y, b = blockIdx.z, g = h / (a.heads / a.kv_heads);
  const std::int64_t first = static_cast<std::int64_t>(gridDim.x - 1 - blockIdx.x) * (kSide * R);
  load_rows<D, kSide * R>(q_tile, a.q.at(b, h, a.head_size), first, a.queries, a.head_size);
  load_rows<D, kSide * R>(dy_tile, back.dy.at(b, h, a.head_size), first, a.queries, a.head_size);
  float out[R][D / kSide], shift[R], delta[R];
  zero<D, R>(out);
#pragma unroll
  for (int i = 0; i < R; ++i) {
    const std::int64_t query = first + thread_y() + kSide * i;
    const std::int64_t row = (b * a.heads + h) * a.queries + query;
    shift[i] = query < a.queries ? back.lse[row] : 0;
    delta[i] = query < a.queries ? back.delta[row] : 0;
  }
  const std::int64_t key_end = ::min(first + kSide * R, a.queries);
  for (std::int64_t k0 = 0; k0 < key_end; k0 += kStreamed) {
    __syncthreads();  // the tiles have been read
    load_rows<D, kStreamed>(k_tile, a.k.at(b, g, a.head_size), k0, key_end, a.head_size);
    load_rows<D, kStreamed>(v_tile, a.v.at(b, g, a.head_size), k0, key_end, a.head_size);
    __syncthreads();
    float p[R][kPerThread], ds[R][kPerThread];
    multiply_rows<D>(q_tile, k_tile, p);
    multiply_rows<D>(dy_tile, v_tile, ds);
#pragma unroll
    for (int i = 0; i < R; ++i) {
      const std::int64_t query = first + thread_y() + kSide * i;
#pragma unroll
      for (int j = 0; j < kPerThread; ++j) {
        const std::int64_t key = k0 + thread_x() + kSide * j;
        const bool seen = key <= query && query < a.queries;
        const float mask = Dropout ? a.mask_of(b, h, query, key) : 1.0f;
        const float weight = seen ? expf(p[i][j] * a.scale - shift[i]) : 0.0f;
        ds[i][j] = seen ? a.scale * weight * (ds[i][j] * mask - delta[i]) : 0.0f;
      }
    }
    share_weights<R>(weights, ds);
    __syncwarp();
    add_weighted<D, R>(weights, k_tile, out);
  }
  float one[R];
#pragma unroll
  for (int i = 0; i < R; ++i) one[i] = 1;
  store_rows<D, R>(q_tile, dq.at(b, h, a.head_size), first, a.queries, a.head_size, out, one);
}

}  // namespace kern

namespace {

using kern::Heads;

/// T is const where the heads are read.
template <class T>
Heads<T> heads_of(const Tensor& t, std::int64_t offset) {
  return {elements<std::remove_const_t<T>>(t) + offset, t.shape()[1], t.shape()[2]};
}

template <class T>
kern::Attention<T> describe(const AttentionArgs& a) {
  return {heads_of<const T>(a.q, a.q_offset),
          heads_of<const T>(a.k, a.k_offset),
          heads_of<const T>(a.v, a.v_offset),
          a.heads,
          a.kv_heads,
          a.q.shape()[1],
          a.keys,
          static_cast<int>(a.head_size),
          static_cast<float>(a.scale),
          dropout_mask(a.dropout, a.dropout_seed, a.dropout_stream)};
}

/// A size of head that kernels are made for, whether they drop probabilities, and the type of
/// elements.
template <int D, bool Dropout, class T>
struct Variant {};

/// Calls f with the kernels' variant for these arguments: the smallest head that holds theirs.
template <class F>
void with_variant(const AttentionArgs& a, const F& f) {
  const auto choose = [&]<bool Dropout, class T>(std::bool_constant<Dropout>, T) {
    if (a.head_size <= 16) return f(Variant<16, Dropout, T>{});
    if (a.head_size <= 32) return f(Variant<32, Dropout, T>{});
    if (a.head_size <= 64) return f(Variant<64, Dropout, T>{});
    if (a.head_size <= 128) return f(Variant<128, Dropout, T>{});
    throw Unsupported("[causal_attention] the CUDA backend takes heads of size up to 128; got " +
                      std::to_string(a.head_size));
  };
  with_type(a.q, [&](auto zero) {
    if (a.dropout > 0) return choose(std::true_type{}, zero);
    choose(std::false_type{}, zero);
  });
}

/// Shared memory of a block that owns `own` and streams `streamed` arrays of rows.
template <int D, int R>
std::size_t tile_bytes(int own, int streamed) {
  return static_cast<std::size_t>((own * kern::kSide * R + streamed * kern::kStreamed) *
                                      kern::kRow<D> +
                                  R * kern::kWeightRows) *
         sizeof(float);
}

template <int D, bool Dropout, class T>
void launch_forward(const AttentionArgs& args, cudaStream_t stream) {
  // Own tiles of 32 rows instead of 64 where those need more than 128 registers.
  constexpr int kOwn = D == 128 && Dropout ? 2 : 4;
  const kern::Attention<T> a = describe<T>(args);
  launch(kern::attention<D, kOwn, Dropout, T>,
         Grid(divide_up(a.queries, kern::kSide * kOwn), a.heads, args.q.shape()[0]), kern::kThreads,
         tile_bytes<D, kOwn>(1, 2), stream, a, heads_of<T>(args.y, 0), f32(args.lse),
         f32(args.max_logit));
}

template <int D, bool Dropout, class T>
void launch_backward(const AttentionBackwardArgs& args, const float* delta, cudaStream_t stream) {
  // Own tiles of 32 rows instead of 64 where those need more than 99 KiB of shared memory, which
  // not every GPU has, or more than 128 registers.
  constexpr int kOwn = D == 32 || (D == 64 && !Dropout) ? 4 : 2;
  const AttentionArgs& forward = args.forward;
  const kern::Attention<T> a = describe<T>(forward);
  const kern::Backward<T> back{heads_of<const T>(args.dy, 0), f32(forward.lse), delta};
  const std::int64_t batch = forward.q.shape()[0];
  const std::int64_t tiles = divide_up(a.queries, kern::kSide * kOwn);
  launch(kern::attention_backward_kv<D, kOwn, Dropout, T>, Grid(tiles, a.kv_heads, batch),
         kern::kThreads, tile_bytes<D, kOwn>(2, 2), stream, a, back,
         heads_of<T>(args.dk, forward.k_offset), heads_of<T>(args.dv, forward.v_offset));
  launch(kern::attention_backward_q<D, kOwn, Dropout, T>, Grid(tiles, a.heads, batch),
         kern::kThreads, tile_bytes<D, kOwn>(2, 2), stream, a, back,
         heads_of<T>(args.dq, forward.q_offset));
}

}  // namespace

void CudaBackend::attention(const AttentionArgs& a) {
  if (a.y.numel() == 0) return;
  with_variant(a, [&]<int D, bool Dropout, class T>(Variant<D, Dropout, T>) {
    launch_forward<D, Dropout, T>(a, stream_.get());
  });
}

void CudaBackend::attention_backward(const AttentionBackwardArgs& args) {
  const AttentionArgs& a = args.forward;
  if (args.dy.numel() == 0) return;
  constexpr int kWarps = 8;
  const std::int64_t rows = a.lse.numel();
  const Scratch delta(allocator(), a.lse.bytes());
  with_variant(a, [&]<int D, bool Dropout, class T>(Variant<D, Dropout, T>) {
    launch(kern::attention_delta<kWarps, T>, divide_up(rows, kWarps), kWarps * kWarp, 0,
           stream_.get(), heads_of<const T>(a.y, 0), heads_of<const T>(args.dy, 0),
           delta.as<float>(), a.heads, rows, static_cast<int>(a.head_size));
    launch_backward<D, Dropout, T>(args, delta.as<float>(), stream_.get());
  });
}

}  // namespace muonlab::cuda

// Kernels and calls with one planted bug each, and kernels that look similar and are in order.

#include "tests/cuda_emu/planted.h"
#include "tests/cuda_emu/selftest.cuh"

namespace selftest::kern {

// ---- Races in shared memory

__global__ void missing_sync(float* out) {
  SELFTEST_SHARED(float, t, [64]);
  const unsigned i = threadIdx.x;
  t[i] = 1;
  out[i] = t[63 - i];  // bug: missing_sync
}

__global__ void missing_second_sync(float* out) {
  SELFTEST_SHARED(float, t, [64]);
  const unsigned i = threadIdx.x;
  t[i] = 1;
  __syncthreads();
  const float v = t[63 - i];
  t[i] = v + 1;  // bug: missing_second_sync
  __syncthreads();
  out[i] = t[i];
}

__global__ void missing_sync_in_loop(float* out, const float* in) {
  SELFTEST_SHARED(float, t, [64]);
  const unsigned i = threadIdx.x;
  float sum = 0;
  for (unsigned k = 0; k < 3; ++k) {
    t[i] = in[(i + k) % 64];  // bug: missing_sync_in_loop
    __syncthreads();
    sum += t[63 - i];
  }
  out[i] = sum;
}

__global__ void missing_syncwarp(float* out) {
  SELFTEST_SHARED(float, t, [32]);
  const unsigned i = threadIdx.x;
  if (i >= 32) return;
  t[i] = 1;
  out[i] = t[31 - i];  // bug: missing_syncwarp
}

__global__ void shuffle_is_no_fence(float* out) {
  SELFTEST_SHARED(float, t, [32]);
  const unsigned i = threadIdx.x;
  if (i >= 32) return;
  t[i] = 1;
  const float v = __shfl_xor_sync(kFullWarp, 1.0f, 1);
  out[i] = t[31 - i] + v;  // bug: shuffle_is_no_fence
}

__global__ void half_syncwarp(float* out) {
  SELFTEST_SHARED(float, t, [32]);
  const unsigned i = threadIdx.x;
  if (i >= 32) return;
  t[i] = 1;
  __syncwarp(i < 16 ? 0x0000ffffu : 0xffff0000u);
  out[i] = t[31 - i];  // bug: half_syncwarp
}

__global__ void byte_race(float* out) {
  SELFTEST_SHARED(unsigned char, t, [64]);
  const unsigned i = threadIdx.x;
  t[i] = 1;
  out[i] = t[i ^ 32];  // bug: byte_race
}

__global__ void warp_reader_left(float* out, const float* in) {
  SELFTEST_SHARED(float, t, );
  const unsigned i = threadIdx.x;
  if (i == 0) t = in[0];
  __syncthreads();
  out[i] = t;
  // In ascending order lane 31 goes on first after the barrier, and lane 30 is the last to read.
  if (i == 30) t = 2;  // bug: warp_reader_left
}

__global__ void counter_not_ready(float* out) {
  SELFTEST_SHARED(int, count, );
  if (threadIdx.x == 0) count = 0;
  atomicAdd(&count, 1);  // bug: counter_not_ready
  __syncthreads();
  out[threadIdx.x] = float(count);
}

// ---- Barriers and warp operations

__global__ void divergent_sync(float* out) {
  const unsigned i = threadIdx.x;
  if (i < 32) {
    out[i] = 1;
    __syncthreads();  // bug: divergent_sync
  } else {
    __syncthreads();
    out[i] = 2;
  }
}

__global__ void early_return_sync(float* out) {
  if (threadIdx.x >= 40) return;
  __syncthreads();  // bug: early_return_sync
  out[threadIdx.x] = 1;
}

__global__ void sync_against_shuffle(float* out) {
  const unsigned i = threadIdx.x;
  if (i < 16)
    out[i] = __shfl_xor_sync(kFullWarp, 1.0f, 1);  // bug: sync_against_shuffle
  else
    __syncthreads();
}

__global__ void shuffle_against_vote(float* out) {
  const unsigned i = threadIdx.x;
  if (i % 2 == 0) {
    out[i] = __shfl_xor_sync(kFullWarp, 1.0f, 2);  // bug: shuffle_against_vote
  } else {
    out[i] = __any_sync(kFullWarp, 1) != 0 ? 1.0f : 0.0f;
  }
}

__global__ void shuffle_from_outside(float* out) {
  const unsigned i = threadIdx.x;
  if (i < 16) out[i] = __shfl_sync(0xffffu, 1.0f, 20);  // bug: shuffle_from_outside
}

__global__ void shuffle_from_returned(float* out) {
  const unsigned i = threadIdx.x;
  if (i % 32 == 31) return;
  out[i] = __shfl_sync(kFullWarp, 1.0f, 31);  // bug: shuffle_from_returned
}

__global__ void not_in_own_mask(float* out) {
  const unsigned i = threadIdx.x;
  out[i] = __shfl_sync(0xffffu, 1.0f, 0);  // bug: not_in_own_mask
}

__global__ void odd_width(float* out) {
  out[threadIdx.x] = __shfl_sync(kFullWarp, 1.0f, 0, 12);  // bug: odd_width
}

// ---- Bounds

__global__ void write_beyond(float* out) {
  out[threadIdx.x + 1] = 1;  // bug: write_beyond
}

__global__ void read_beyond(float* out, const float* in) {
  out[threadIdx.x] = in[threadIdx.x + 32];  // bug: read_beyond
}

__global__ void read_a_row_beyond(float* out, const float* in) {
  const unsigned rows = 2, columns = 32;
  float sum = 0;
  for (unsigned r = 1; r <= rows; ++r) sum += in[r * columns + 5];  // bug: read_a_row_beyond
  if (threadIdx.x == 0) out[0] = sum;
}

__global__ void shared_pointer_beyond(float* out) {
  SELFTEST_SHARED(float, t, [64]);
  float* p = t;
  p[threadIdx.x + 1] = 1;  // bug: shared_pointer_beyond
  __syncthreads();
  out[threadIdx.x] = t[63];
}

__global__ void shared_pointer_before(float* out) {
  SELFTEST_SHARED(float, t, [64]);
  float* p = t;
  p[int(threadIdx.x) - 1] = 1;  // bug: shared_pointer_before
  __syncthreads();
  out[threadIdx.x] = t[0];
}

__global__ void shared_index_beyond_row(float* out) {
  SELFTEST_SHARED(float, t, [2][32]);
  t[threadIdx.x / 32][threadIdx.x % 32] = 1;
  __syncthreads();
  out[threadIdx.x] = t[0][threadIdx.x];  // bug: shared_index_beyond_row
}

__global__ void dynamic_beyond(float* out) {
  float* t = dynamic_smem<float>();
  t[threadIdx.x] = 1;  // bug: dynamic_beyond
  __syncthreads();
  out[threadIdx.x] = t[threadIdx.x];
}

// ---- Initialisation

__global__ void uninitialised_shared(float* out) {
  SELFTEST_SHARED(float, t, [64]);
  const unsigned i = threadIdx.x;
  if (i < 63) t[i] = 1;
  __syncthreads();
  out[i] = t[i];  // bug: uninitialised_shared
}

__global__ void shared_of_last_block(float* out) {
  SELFTEST_SHARED(float, t, [64]);
  const unsigned i = threadIdx.x;
  if (blockIdx.x == 0) t[i] = 1;
  __syncthreads();
  if (blockIdx.x == 1) out[i] = t[i];  // bug: shared_of_last_block
}

__global__ void uninitialised_dynamic(float* out) {
  out[threadIdx.x] = dynamic_smem<float>()[threadIdx.x];  // bug: uninitialised_dynamic
}

__global__ void uninitialised_global(float* out, const float* unset) {
  out[threadIdx.x] = unset[threadIdx.x];  // bug: uninitialised_global
}

__global__ void use_after_free(float* out, const float* freed) {
  out[threadIdx.x] = freed[threadIdx.x];  // bug: use_after_free
}

__global__ void freed_in_stream(float* out, const float* freed) {
  out[threadIdx.x] = freed[threadIdx.x];  // bug: freed_in_stream
}

// ---- Races in global memory

__global__ void blocks_write(float* out) {
  out[threadIdx.x] = float(blockIdx.x);  // bug: blocks_write
}

__global__ void block_reads_other(float* out) {
  if (blockIdx.x == 0) {
    out[threadIdx.x] = 1;  // bug: block_reads_other
  } else {
    if (out[threadIdx.x] > 5) out[threadIdx.x + 64] = 1;
  }
}

__global__ void last_block_writes(float* out) {
  const float v = out[0];
  __syncthreads();
  if (blockIdx.x == 1 && threadIdx.x == 0) out[0] = v + 1;  // bug: last_block_writes
}

__global__ void plain_counter(float* out) {
  out[0] += 1;  // bug: plain_counter
}

__global__ void atomic_against_plain(float* out) {
  int* counts = reinterpret_cast<int*>(out);
  atomicAdd(counts, 1);
  if (threadIdx.x == 63) counts[1] = counts[0];  // bug: atomic_against_plain
}

__global__ void missing_sync_global(float* out) {
  const unsigned i = threadIdx.x;
  out[i] = 1;
  out[i + 64] = out[63 - i];  // bug: missing_sync_global
}

// Many read it, all of them before the write but one, and that one is not the last to read.
__global__ void one_reader_left(float* out, const float* in) {
  SELFTEST_SHARED(float, t, );
  const unsigned i = threadIdx.x;
  if (i == 0) t = in[0];
  __syncthreads();
  out[i] = t;
  if (i < 32) __syncwarp();
  if (i == 0) t = 2;  // bug: one_reader_left
}

// ---- Addresses

__global__ void misaligned(float* out) {
  reinterpret_cast<float4*>(out + 1)[0] = make_float4(1, 2, 3, 4);  // bug: misaligned
}

__global__ void misaligned_shared(float* out) {
  SELFTEST_SHARED(float, t, [8]);
  reinterpret_cast<float4*>(t + 2)[0] = make_float4(1, 2, 3, 4);  // bug: misaligned_shared
  out[0] = t[2];
}

__global__ void misaligned_atomic(float* out) {
  auto* p = reinterpret_cast<unsigned long long*>(out + 1);
  atomicAdd(p, 1ull);  // bug: misaligned_atomic
}

__global__ void host_pointer(float* out, const float* host) {
  out[threadIdx.x] = host[threadIdx.x];  // bug: host_pointer
}

__global__ void null_pointer(float* out, const float* null) {
  out[threadIdx.x] = null[threadIdx.x];  // bug: null_pointer
}

__global__ void write_to_constant(float* out, float* constant) {
  constant[threadIdx.x] = out[threadIdx.x];  // bug: write_to_constant
}

__global__ void foreign_local(float* out) {
  SELFTEST_SHARED(const float*, address, [64]);
  const unsigned i = threadIdx.x;
  const float mine = float(i);
  address[i] = &mine;
  __syncthreads();
  out[i] = *address[63 - i];  // bug: foreign_local
  __syncthreads();
}

__global__ void shift_too_far(float* out, int bits) {
  out[threadIdx.x] = float(1 << bits);  // bug: shift_too_far
}

__global__ void sum_too_large(float* out, int summand) {
  out[threadIdx.x] = float(summand + int(threadIdx.x));  // bug: sum_too_large
}

__global__ void divided_by_zero(float* out, int divisor) {
  out[threadIdx.x] = float(int(threadIdx.x) / divisor);  // bug: divided_by_zero
}

// ---- Launches

__global__ void too_many_threads(float* out) {  // bug: too_many_threads
  out[threadIdx.x] = 1;
}
__global__ void empty_grid(float* out) {  // bug: empty_grid
  out[threadIdx.x] = 1;
}
__global__ void tall_grid(float* out) {  // bug: tall_grid
  out[threadIdx.x] = 1;
}
__global__ void much_smem(float* out) {  // bug: much_smem
  out[threadIdx.x] = 1;
}
__global__ void much_smem_in_all(float* out) {  // bug: much_smem_in_all
  SELFTEST_SHARED(float, t, [1024]);
  t[threadIdx.x] = 1;
  out[threadIdx.x] = t[threadIdx.x];
}

// ---- In order

__global__ void clean_fill(float* out) { out[threadIdx.x] = 1; }

__global__ void clean_double_buffer(float* out, const float* in) {
  SELFTEST_SHARED(float, t, [2][64]);
  const unsigned i = threadIdx.x;
  float sum = 0;
  for (unsigned k = 0; k < 6; ++k) {
    t[k % 2][i] = in[(k * 7 + i) % 64] + 1;
    __syncthreads();
    sum += t[k % 2][63 - i];
  }
  out[i] = sum;
}

__global__ void clean_warp(float* out) {
  SELFTEST_SHARED(float, t, [64]);
  const unsigned i = threadIdx.x;
  t[i] = float(i);
  __syncwarp();
  const float v = t[i ^ 1];
  __syncwarp();
  t[i] = v;
  __syncwarp();
  out[i] = t[i ^ 3];
}

// What lanes 16 to 23 read, they know of through lanes 8 to 15.
__global__ void clean_handed_on(float* out) {
  SELFTEST_SHARED(float, t, [64]);
  const unsigned i = threadIdx.x, lane = i % 32;
  t[i] = float(i + 1);
  if (lane < 16) __syncwarp(0x0000ffffu);
  if (lane >= 8 && lane < 24) __syncwarp(0x00ffff00u);
  if (lane >= 16 && lane < 24) out[i] = t[i - 16];
}

// Two halves that know each other only after the last line but one.
__global__ void clean_half_warps(float* out) {
  SELFTEST_SHARED(float, t, [64]);
  const unsigned i = threadIdx.x, lane = i % 32;
  const unsigned half = lane < 16 ? 0x0000ffffu : 0xffff0000u;
  t[i] = float(i);
  __syncwarp(half);
  const float v = t[i ^ 5];
  __syncwarp(half);
  t[i] = v;
  __syncwarp();
  out[i] = t[i ^ 16];
}

__global__ void clean_partial_masks(float* out) {
  const unsigned i = threadIdx.x, lane = i % 32;
  float v = float(lane);
  if (lane < 20) {
    const unsigned mask = __ballot_sync(0xfffffu, 1);
    v += __shfl_sync(mask, v, 3);
  } else {
    v -= __shfl_down_sync(0xfff00000u, v, 1);
  }
  const unsigned lanes = __reduce_add_sync(kFullWarp, 1u);
  out[i] = v + float(lanes) + float(__syncthreads_count(int(i % 2)));
}

__global__ void clean_histogram(float* out) {
  SELFTEST_SHARED(int, counts, [8]);
  const unsigned i = threadIdx.x;
  if (i < 8) counts[i] = 0;
  __syncthreads();
  atomicAdd(&counts[i % 8], 1);
  __syncthreads();
  if (i < 8) atomicAdd(reinterpret_cast<int*>(out) + i, counts[i]);
}

__global__ void clean_bytes(float* out) {
  const unsigned i = threadIdx.x;
  reinterpret_cast<unsigned char*>(out)[i] = 0;
  reinterpret_cast<__nv_bfloat16*>(out)[i + 32] = __float2bfloat16(i % 2 == 0 ? 0.0f : 1.0f);
}

__global__ void clean_broadcast(float* out, const float* in) {
  SELFTEST_SHARED(float, t, );
  const unsigned i = threadIdx.x;
  if (i == 0) t = in[5] + 1;
  __syncthreads();
  const float v = t + in[0];
  __syncthreads();
  if (i == 0) t = 2;
  __syncthreads();
  out[i] = v + t;
}

__global__ void clean_transpose(float* out, const float* in) {  // block (16, 4)
  SELFTEST_SHARED(float, t, [16][17]);
  const unsigned x = threadIdx.x;
  for (unsigned y = threadIdx.y; y < 16; y += 4) t[y][x] = in[(y * 16 + x) % 64] + float(x);
  __syncthreads();
  for (unsigned y = threadIdx.y; y < 4; y += 4) out[y * 16 + x] = t[x][y];
}

__global__ void clean_vectors(float* out, const float* in) {
  static constexpr float kTable[4] = {1, 2, 3, 4};
  const unsigned i = threadIdx.x;
  float4 v = reinterpret_cast<const float4*>(in)[i % 16];
  v.x += kTable[i % 4];
  reinterpret_cast<float4*>(out)[i] = v;
}

// Less aligned than they are large, so that they are loaded in pieces.
struct Row {
  float values[7];
};
__global__ void clean_pieces(float* out, const float* in) {
  const unsigned i = threadIdx.x;
  if (i < 20) reinterpret_cast<float3*>(out)[i] = reinterpret_cast<const float3*>(in)[i];
  __syncthreads();
  if (i < 9) reinterpret_cast<Row*>(out)[i] = reinterpret_cast<const Row*>(in)[i];
  __syncthreads();
  if (i < 21) {
    float3* mine = reinterpret_cast<float3*>(out) + i;
    const float3 v = *mine;
    *mine = make_float3(v.x + 1, v.y + 2, v.z + 3);
  }
}

struct Numbers {
  float values[6];
  int count;
};
__global__ void clean_struct(float* out, Numbers numbers) {
  float sum = 0;
  for (int k = 0; k < numbers.count; ++k) sum += numbers.values[k];
  out[threadIdx.x] = sum;
}

__global__ void clean_dynamic(float* out) {
  float* t = dynamic_smem<float>();
  const unsigned i = threadIdx.x;
  t[i] = float(i);
  __syncthreads();
  out[i] = t[63 - i];
}

// Threads of one block, in turns: each reads what another wrote before the barrier.
__global__ void clean_global_turns(float* out) {
  const unsigned i = threadIdx.x;
  out[i] = float(i);
  __syncthreads();
  const float v = out[63 - i];
  __syncthreads();
  out[i] = v;
}

}  // namespace selftest::kern

namespace selftest {

using simt::Fault;
using namespace kern;

namespace {

float g_host[64];
const float kConstants[64] = {1};

void run_use_after_free(const Buffers& b) {
  float* freed = device_memory<float>(64);
  cudaMemset(freed, 0, 64 * sizeof(float));
  cudaFree(freed);
  launch(kern::use_after_free, 1, 64, 0, b.stream, b.out, freed);
}

void run_freed_in_stream(const Buffers& b) {
  void* freed = nullptr;
  cudaMallocAsync(&freed, 64 * sizeof(float), b.stream);
  cudaMemsetAsync(freed, 0, 64 * sizeof(float), b.stream);
  cudaFreeAsync(freed, b.stream);
  launch(kern::freed_in_stream, 1, 64, 0, b.stream, b.out, static_cast<const float*>(freed));
}

void run_uninitialised_global(const Buffers& b) {
  float* unset = device_memory<float>(64);
  launch(kern::uninitialised_global, 1, 64, 0, b.stream, b.out, unset);
  cudaStreamSynchronize(b.stream);
  cudaFree(unset);
}

// Uninitialised bytes are still so after a copy.
void run_uninitialised_copy(const Buffers& b) {
  float* unset = device_memory<float>(64);
  cudaMemcpy(b.out, unset, 256, cudaMemcpyDeviceToDevice);
  float host[64];
  cudaMemcpy(host, b.out, 256, cudaMemcpyDeviceToHost);  // bug: uninitialised_copy
  cudaFree(unset);
}

void run_copy_beyond(const Buffers& b) {
  float host[200] = {};
  cudaMemcpy(b.out, host, sizeof host, cudaMemcpyHostToDevice);  // bug: copy_beyond
}

void run_copy_beyond_pinned(const Buffers& b) {
  void* pinned = nullptr;
  cudaMallocHost(&pinned, 100);
  cudaMemcpyAsync(pinned, b.out, 104, cudaMemcpyDeviceToHost, b.stream);  // bug: copy_beyond_pinned
  cudaFreeHost(pinned);
}

void run_copy_kind(const Buffers& b) {
  float host[2];
  cudaMemcpy(host, b.out, sizeof host, cudaMemcpyHostToDevice);  // bug: copy_kind
}

void run_memset_beyond(const Buffers& b) {
  cudaMemsetAsync(b.in, 0, 65 * sizeof(float), b.stream);  // bug: memset_beyond
}

void run_freed_twice(const Buffers&) {
  float* p = device_memory<float>(1);
  cudaFree(p);
  cudaFree(p);  // bug: freed_twice
}

void run_destroyed_stream(const Buffers& b) {
  cudaStream_t stream = nullptr;
  cudaStreamCreate(&stream);
  cudaStreamDestroy(stream);
  cudaMemsetAsync(b.out, 0, 4, stream);  // bug: destroyed_stream
}

void run_destroyed_event(const Buffers& b) {
  cudaEvent_t event = nullptr;
  cudaEventCreate(&event);
  cudaEventDestroy(event);
  cudaEventRecord(event, b.stream);  // bug: destroyed_event
}

}  // namespace

#define BUG(NAME, FAULT, RUN) \
  { #NAME, Fault::FAULT, RUN }
// A kernel of that name with `out`, or with `out` and `in`.
#define KERNEL_BUG(NAME, FAULT, GRID, BLOCK, SMEM, ...)                                    \
  BUG(NAME, FAULT, ([](const Buffers& b) {                                                 \
        launch(kern::NAME, GRID, BLOCK, SMEM, b.stream, b.out __VA_OPT__(, ) __VA_ARGS__); \
      }))

std::vector<PlantedBug> planted_bugs() {
  return {
      KERNEL_BUG(missing_sync, race_shared, 1, 64, 0),
      KERNEL_BUG(missing_second_sync, race_shared, 1, 64, 0),
      KERNEL_BUG(missing_sync_in_loop, race_shared, 1, 64, 0, b.in),
      KERNEL_BUG(missing_syncwarp, race_shared, 1, 64, 0),
      KERNEL_BUG(shuffle_is_no_fence, race_shared, 1, 64, 0),
      KERNEL_BUG(half_syncwarp, race_shared, 1, 64, 0),
      KERNEL_BUG(byte_race, race_shared, 1, 64, 0),
      KERNEL_BUG(one_reader_left, race_shared, 1, 64, 0, b.in),
      KERNEL_BUG(warp_reader_left, race_shared, 1, 32, 0, b.in),
      KERNEL_BUG(counter_not_ready, race_shared, 1, 64, 0),
      KERNEL_BUG(divergent_sync, barrier_diverged, 1, 64, 0),
      KERNEL_BUG(early_return_sync, barrier_exited, 1, 64, 0),
      KERNEL_BUG(sync_against_shuffle, deadlock, 1, 64, 0),
      KERNEL_BUG(shuffle_against_vote, warp_diverged, 1, 32, 0),
      KERNEL_BUG(shuffle_from_outside, shuffle_inactive, 1, 64, 0),
      KERNEL_BUG(shuffle_from_returned, shuffle_inactive, 1, 64, 0),
      KERNEL_BUG(not_in_own_mask, warp_operation, 1, 64, 0),
      KERNEL_BUG(odd_width, warp_operation, 1, 64, 0),
      KERNEL_BUG(write_beyond, out_of_bounds, 1, 128, 0),
      KERNEL_BUG(read_beyond, out_of_bounds, 1, 128, 0, b.in),
      KERNEL_BUG(read_a_row_beyond, out_of_bounds, 1, 32, 0, b.in),
      KERNEL_BUG(shared_pointer_beyond, out_of_bounds, 1, 64, 0),
      KERNEL_BUG(shared_pointer_before, out_of_bounds, 1, 64, 0),
      KERNEL_BUG(shared_index_beyond_row, out_of_bounds, 1, 64, 0),
      KERNEL_BUG(dynamic_beyond, out_of_bounds, 1, 64, 60 * sizeof(float)),
      KERNEL_BUG(uninitialised_shared, uninitialised, 1, 64, 0),
      KERNEL_BUG(shared_of_last_block, uninitialised, 2, 64, 0),
      KERNEL_BUG(uninitialised_dynamic, uninitialised, 1, 64, 256),
      BUG(uninitialised_global, uninitialised, run_uninitialised_global),
      BUG(uninitialised_copy, uninitialised, run_uninitialised_copy),
      BUG(use_after_free, use_after_free, run_use_after_free),
      BUG(freed_in_stream, use_after_free, run_freed_in_stream),
      KERNEL_BUG(blocks_write, race_global, 2, 64, 0),
      KERNEL_BUG(block_reads_other, race_global, 2, 64, 0),
      KERNEL_BUG(last_block_writes, race_global, 2, 64, 0),
      KERNEL_BUG(plain_counter, race_global, 1, 64, 0),
      KERNEL_BUG(atomic_against_plain, race_global, 1, 64, 0),
      KERNEL_BUG(missing_sync_global, race_global, 1, 64, 0),
      KERNEL_BUG(misaligned, misaligned, 1, 1, 0),
      KERNEL_BUG(misaligned_shared, misaligned, 1, 1, 0),
      KERNEL_BUG(misaligned_atomic, misaligned, 1, 1, 0),
      KERNEL_BUG(host_pointer, host_pointer, 1, 64, 0, g_host),
      KERNEL_BUG(null_pointer, host_pointer, 1, 64, 0, nullptr),
      KERNEL_BUG(write_to_constant, host_pointer, 1, 64, 0, const_cast<float*>(kConstants)),
      KERNEL_BUG(foreign_local, foreign_local, 1, 64, 0),
      KERNEL_BUG(shift_too_far, undefined, 1, 64, 0, 40),
      KERNEL_BUG(sum_too_large, undefined, 1, 64, 0, 0x7ffffff0),
      KERNEL_BUG(divided_by_zero, undefined, 1, 64, 0, 0),
      KERNEL_BUG(too_many_threads, launch_limit, 1, 1025, 0),
      KERNEL_BUG(empty_grid, launch_limit, 0, 64, 0),
      KERNEL_BUG(tall_grid, launch_limit, dim3(1, 65536), 64, 0),
      KERNEL_BUG(much_smem, launch_limit, 1, 64, 48 * 1024 + 4),
      KERNEL_BUG(much_smem_in_all, launch_limit, 1, 64, 46 * 1024),
      BUG(copy_beyond, out_of_bounds, run_copy_beyond),
      BUG(copy_beyond_pinned, out_of_bounds, run_copy_beyond_pinned),
      BUG(memset_beyond, out_of_bounds, run_memset_beyond),
      BUG(copy_kind, memcpy_kind, run_copy_kind),
      BUG(freed_twice, bad_handle, run_freed_twice),
      BUG(destroyed_stream, bad_handle, run_destroyed_stream),
      BUG(destroyed_event, bad_handle, run_destroyed_event),
  };
}

#define CLEAN(NAME, GRID, BLOCK, SMEM, COUNT, EXPECTED, ...)                               \
  {                                                                                        \
#NAME,                                                                                   \
        [](const Buffers& b) {                                                               \
          launch(kern::NAME, GRID, BLOCK, SMEM, b.stream, b.out __VA_OPT__(, ) __VA_ARGS__);  \
        },                                                                                   \
        COUNT, [](int i) -> float {                                                          \
          (void)i;                                                                           \
          return EXPECTED;                                                                   \
        } \
  }

std::vector<CleanKernel> clean_kernels() {
  return {
      CLEAN(clean_fill, 1, 64, 0, 64, 1.0f),
      CLEAN(clean_double_buffer, 1, 64, 0, 64, 6.0f, b.in),
      CLEAN(clean_warp, 1, 64, 0, 64, float(i ^ 2)),
      CLEAN(clean_handed_on, 1, 64, 0, 64, i % 32 >= 16 && i % 32 < 24 ? float(i - 15) : 0.0f),
      CLEAN(clean_half_warps, 1, 64, 0, 64, float(i ^ 21)),
      // lanes below 20 add 3, the others subtract their neighbour's, the last one its own; then 32
      // lanes and 32 odd threads
      CLEAN(clean_partial_masks, 1, 64, 0, 64,
            float(i % 32 < 20    ? i % 32 + 3
                  : i % 32 == 31 ? 0
                                 : -1) +
                64.0f),
      CLEAN(clean_histogram, 4, 64, 0, 8, __int_as_float(4 * 8)),
      // bytes 0 to 63 are 0, then 64 bf16: 0, 1, 0, 1 ...
      CLEAN(clean_bytes, 1, 64, 0, 48, i < 16 ? 0.0f : 1.0f),
      CLEAN(clean_broadcast, 1, 64, 0, 64, 3.0f, b.in),
      CLEAN(clean_transpose, 1, dim3(16, 4), 0, 64, float(i / 16), b.in),
      CLEAN(clean_vectors, 1, 32, 0, 128, i % 4 == 0 ? float(i / 4 % 4 + 1) : 0.0f, b.in),
      CLEAN(clean_struct, 1, 64, 0, 64, 10.0f, (kern::Numbers{{1, 2, 3, 4, 5, 6}, 4})),
      CLEAN(clean_pieces, 1, 64, 0, 63, float(i % 3 + 1), b.in),
      CLEAN(clean_dynamic, 1, 64, 256, 64, float(63 - i)),
      CLEAN(clean_global_turns, 1, 64, 0, 64, float(63 - i)),
  };
}

}  // namespace selftest

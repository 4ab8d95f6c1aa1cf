#include "tests/cuda_emu/ptx_kernels.h"
#include "tests/cuda_emu/selftest.cuh"

#if defined(__CUDACC__)
#include <cuda_pipeline.h>
#endif

#define SELFTEST_NOINLINE __attribute__((noinline))

namespace selftest::kern {

__device__ inline int thread_of_grid_x() { return int(blockIdx.x * blockDim.x + threadIdx.x); }

__global__ void integer_arithmetic(long long* out, const int* a, const int* b, int n) {
  const int i = thread_of_grid_x();
  if (i >= n) return;
  const int x = a[i], y = b[i];
  const unsigned u = unsigned(x), v = unsigned(y);
  const long long lx = x, ly = y;
  const unsigned long long lu = u * 0x100000001ull, lv = v * 0x300000007ull;
  long long* r = out + i * kIntegerResults;
  r[0] = lx + ly;
  r[1] = y == -1 ? 0 : x / y;
  r[2] = y == -1 ? 0 : x % y;
  r[3] = u / v;
  r[4] = u % v;
  r[5] = lx * 1000003 / ly;
  r[6] = lx * 1000003 % ly;
  r[7] = (long long)(lu / (lv | 1));
  r[8] = (long long)(lu % (lv | 1));
  r[9] = (long long)(lu * lv);
  r[10] = __umulhi(u, v);
  r[11] = __popc(u ^ v);
  r[12] = __clz(x);
  r[13] = __ffs(x);
  r[14] = x >> (v % 32);
  r[15] = u >> (v % 32);
  r[16] = (long long)(lu << (v % 64));
  r[17] = lx >> (v % 64);
  r[18] = min(x, y) - (long long)max(u, v);
  r[19] = (signed char)(x) + (unsigned char)(y) + (short)(y);
  r[20] = (u & 0xff00u) | (v ^ ~u);
  r[21] = x % 7 + x / 100 + y % 1000;
}

__global__ void float_functions(float* out, const float* x, int n) {
  const int i = thread_of_grid_x();
  if (i >= n) return;
  const float a = x[i], positive = fabsf(a);
  float* r = out + i * kFloatFunctions;
  r[0] = expf(a);
  r[1] = logf(positive);
  r[2] = sinf(a);
  r[3] = cosf(a);
  r[4] = tanhf(a);
  r[5] = sqrtf(positive);
  r[6] = rsqrtf(positive);
  r[7] = 1.0f / a;
  r[8] = powf(positive, 1.7f);
  r[9] = erff(a);
  r[10] = log1pf(positive);
  r[11] = expm1f(a);
  r[12] = fmodf(a, 1.25f);
  r[13] = floorf(a) + ceilf(a) + truncf(a);
  r[14] = rintf(a);
  r[15] = copysignf(fmaxf(positive, 2.0f), fminf(a, 1.0f));
  r[16] = float(int(fminf(positive, 1e9f)));
}

__global__ void double_functions(double* out, const double* x, int n) {
  const int i = thread_of_grid_x();
  if (i >= n) return;
  const double a = x[i], positive = fabs(a);
  double* r = out + i * kDoubleFunctions;
  r[0] = exp(a);
  r[1] = log(positive);
  r[2] = sin(a);
  r[3] = tanh(a);
  r[4] = sqrt(positive);
  r[5] = 1.0 / a;
  r[6] = pow(positive, 1.7);
  r[7] = erf(a);
}

__global__ void bf16_pairs(float* out, const float* x, int n) {
  const int i = thread_of_grid_x();
  if (i >= n) return;
  const __nv_bfloat162 pair = __floats2bfloat162_rn(x[i], x[(i + 1) % n]);
  const float2 wide = __bfloat1622float2(pair);
  const __nv_bfloat16 sum = __float2bfloat16(wide.x + wide.y);
  out[i] = __bfloat162float(sum) - __bfloat162float(__float2bfloat16(x[i]));
}

struct Step {
  int value, count;
  long long sum;
};
__device__ SELFTEST_NOINLINE Step next(Step s, bool odd) {
  s.value = odd ? 3 * s.value + 1 : s.value / 2;
  s.sum += s.value;
  ++s.count;
  return s;
}
__device__ SELFTEST_NOINLINE int collatz(int start) {
  Step s{start, 0, 0};
  while (s.value != 1) s = next(s, s.value % 2 != 0);
  return s.count * 1000 + int(s.sum % 1000);
}
__global__ void collatz_and_friends(int* out, int n) {
  const int i = thread_of_grid_x();
  if (i >= n) return;
  constexpr int kWeights[8] = {3, 1, 4, 1, 5, 9, 2, 6};
  int state = i % 6, steps = 0, result = collatz(i + 1);
  while (steps < 20) {
    ++steps;
    switch (state) {
      case 0:
        state = 3;
        break;
      case 1:
        result += kWeights[(result & 7)];
        state = 4;
        break;
      case 2:
        state = result % 2 != 0 ? 5 : 1;
        break;
      case 3:
        result ^= steps;
        state = 2;
        break;
      case 4:
        if (result > 5000) return;
        state = 0;
        break;
      default:
        result = result / 3 + 1;
        state = 1;
    }
    out[i] = result * 10 + state;
  }
}

__global__ void sort_locally(int* out, int seed) {
  constexpr int kCount = 12;
  int values[kCount];
  unsigned random = unsigned(seed) + threadIdx.x * 977u;
  for (int k = 0; k < kCount; ++k) {
    random = random * 1664525u + 1013904223u;
    values[k] = int(random >> 8);
  }
#pragma unroll 1
  for (int k = 1; k < kCount; ++k) {
    const int v = values[k];
    int j = k;
#pragma unroll 1
    while (j > 0 && values[j - 1] > v) {
      values[j] = values[j - 1];
      --j;
    }
    values[j] = v;
  }
  for (int k = 0; k < kCount; ++k) out[threadIdx.x * kCount + k] = values[k];
}

__global__ void over_tensors(Tensors tensors) {
  const unsigned t = blockIdx.x;
  for (int i = int(threadIdx.x); i < tensors.size[t]; i += int(blockDim.x)) {
    tensors.data[t][i] = tensors.data[t][i] * tensors.scale + float(tensors.offset) + tensors.first;
  }
}

__global__ void prefix_sums(int* out, const int* x) {
  SELFTEST_SHARED(int, totals, [4]);
  int* sums = dynamic_smem<int>();
  const int i = int(threadIdx.x), lane = i % 32, warp = i / 32;
  int sum = x[i];
  for (int distance = 1; distance < 32; distance *= 2) {
    const int other = __shfl_up_sync(kFullWarp, sum, unsigned(distance));
    if (lane >= distance) sum += other;
  }
  if (lane == 31) totals[warp] = sum;
  sums[i] = sum;
  __syncthreads();
  for (int k = 0; k < warp; ++k) sums[i] += totals[k];
  out[i] = sums[i];
}

__device__ __forceinline__ void copy_async(float4* shared, const float4* global) {
#if defined(__CUDACC__)
  __pipeline_memcpy_async(shared, global, sizeof(float4));
  __pipeline_commit();
#else
  *shared = *global;
#endif
}
__device__ __forceinline__ void wait_for_copies() {
#if defined(__CUDACC__)
  __pipeline_wait_prior(0);
#endif
}
__global__ void copied_asynchronously(float4* out, const float4* x, bool wait) {
  SELFTEST_SHARED(float4, tile, [2][32]);
  const unsigned i = threadIdx.x;
  copy_async(&tile[0][i], &x[i]);
  copy_async(&tile[1][i], &x[i + 32]);
  if (wait) wait_for_copies();
  __syncthreads();
  out[i] = tile[1][31 - i];  // the copy is read
  out[i + 32] = tile[0][31 - i];
}

__global__ void __launch_bounds__(64) bounded(int* out) { out[threadIdx.x] = 1; }

}  // namespace selftest::kern

// Programs of core/elementwise.h in one launch, whatever the number of tensors: a kernel that
// interprets the program for four elements a thread. Columns and temporaries are slots in shared
// memory, a column of it for each thread; scalars and constants are the same for all threads of a
// block.
#include <algorithm>
#include <cstddef>
#include <vector>

#include "cuda/cuda_backend.h"
#include "cuda/device.cuh"

namespace muonlab::cuda {
namespace kern {

constexpr int kThreads = 128, kLanes = 4;
constexpr std::int64_t kChunk = 4 * kThreads * kLanes;  // elements that a block computes

/// What is the same for all threads of a block: constants, scalars, and a zero that stands for an
/// operand that is not there.
constexpr int kFirstScalar = ElementProgram::kMaxConstants;
constexpr int kZero = kFirstScalar + ElementProgram::kMaxScalars;

/// An operand is a slot, or a uniform if this bit is set.
constexpr unsigned kUniformBit = 0x80;

/// op, dst, a, b, c: a byte each, from the lowest.
using Instruction = std::uint64_t;

struct Program {
  Instruction code[ElementProgram::kMaxInstructions];
  float constant[ElementProgram::kMaxConstants];
  std::int32_t instructions, columns;
  std::uint32_t reads, writes;  // columns, bit by bit
};

/// One row of tensors; its chunks follow those of the row before it.
struct Row {
  void* column[ElementProgram::kMaxColumns];
  float scalar[ElementProgram::kMaxScalars];
  std::int64_t n, first_chunk;
};

using Lanes = Vec<float, kLanes>;

__device__ __forceinline__ float apply(ElementOp op, float a, float b, float c) {
  switch (op) {
    case ElementOp::copy:
      return a;
    case ElementOp::add:
      return a + b;
    case ElementOp::sub:
      return a - b;
    case ElementOp::mul:
      return a * b;
    case ElementOp::div:
      return a / b;
    case ElementOp::fma:
      return fmaf(a, b, c);
    case ElementOp::fnma:
      return fmaf(-a, b, c);
    case ElementOp::lerp:
      return fmaf(c, b - a, a);
    case ElementOp::min:
      return a < b ? a : b;
    case ElementOp::max:
      return a > b ? a : b;
    case ElementOp::sqrt:
      return sqrtf(a);
    case ElementOp::abs:
      return fabsf(a);
    case ElementOp::sign:
      return static_cast<float>(a > 0) - static_cast<float>(a < 0);
  }
  return 0;
}

/// All threads of the block copy a struct to shared memory.
template <class T>
__device__ __forceinline__ void copy_words(T* to, const T* from) {
  for (int i = static_cast<int>(threadIdx.x); i < int{sizeof(T) / 4}; i += kThreads)
    reinterpret_cast<std::uint32_t*>(to)[i] = reinterpret_cast<const std::uint32_t*>(from)[i];
}

/// One block a chunk; dynamic shared memory: the slots. T: of the elements in memory.
template <class T>
__global__ void __launch_bounds__(kThreads)
    elementwise(const Program* __restrict__ global_program, const Row* __restrict__ rows,
                int row_count) {
  MUONLAB_SHARED(Program, program, );
  MUONLAB_SHARED(Row, row, );
  MUONLAB_SHARED(float, uniform, [kZero + 1]);
  const int thread = static_cast<int>(threadIdx.x);
  Lanes* slots = dyn_smem<Lanes>() + thread;
  const std::int64_t chunk = blockIdx.x;
  // Rows that begin at or before this chunk; it belongs to the last of them.
  int begun = 0;
  for (int first = 0; first < row_count; first += kThreads) {
    const int r = first + thread;
    begun += __syncthreads_count(r < row_count && rows[r].first_chunk <= chunk);
  }
  copy_words(&program, global_program);
  copy_words(&row, rows + begun - 1);
  if (thread < kFirstScalar)
    uniform[thread] = global_program->constant[thread];
  else if (thread < kZero)
    uniform[thread] = rows[begun - 1].scalar[thread - kFirstScalar];
  else if (thread == kZero)
    uniform[thread] = 0;
  __syncthreads();

  const auto fetch = [&](unsigned operand) {
    if ((operand & kUniformBit) == 0) return slots[operand * kThreads];
    const float value = uniform[operand & ~kUniformBit];
    return Lanes{{value, value, value, value}};
  };
  const std::int64_t n = row.n;
  const std::int64_t begin = (chunk - row.first_chunk) * kChunk;
  const std::int64_t end = ::min(begin + kChunk, n);
  for (std::int64_t tile = begin; tile < end; tile += kThreads * kLanes) {
    // Neighbouring threads have neighbouring elements, so that no column needs to be aligned.
    const std::int64_t first = tile + thread;
    for (int column = 0; column < program.columns; ++column) {
      if ((program.reads >> column & 1) == 0) continue;
      const auto* x = static_cast<const T*>(row.column[column]);
      Lanes value;
#pragma unroll
      for (int k = 0; k < kLanes; ++k) {
        const std::int64_t i = first + k * kThreads;
        value.v[k] = i < n ? static_cast<float>(x[i]) : 0.0f;
      }
      slots[column * kThreads] = value;
    }
    for (int at = 0; at < program.instructions; ++at) {
      const Instruction code = program.code[at];
      const Lanes a = fetch(code >> 16 & 0xff), b = fetch(code >> 24 & 0xff);
      const Lanes c = fetch(code >> 32 & 0xff);
      const auto op = static_cast<ElementOp>(code & 0xff);
      Lanes value;
#pragma unroll
      for (int k = 0; k < kLanes; ++k) value.v[k] = apply(op, a.v[k], b.v[k], c.v[k]);
      slots[(code >> 8 & 0xff) * kThreads] = value;
    }
    for (int column = 0; column < program.columns; ++column) {
      if ((program.writes >> column & 1) == 0) continue;
      auto* x = static_cast<T*>(row.column[column]);
      const Lanes value = slots[column * kThreads];
#pragma unroll
      for (int k = 0; k < kLanes; ++k) {
        const std::int64_t i = first + k * kThreads;
        if (i < n) x[i] = static_cast<T>(value.v[k]);
      }
    }
  }
}

}  // namespace kern

namespace {

kern::Program translate(const ElementProgram& p) {
  const auto place = [&](const Operand& o) -> std::uint64_t {
    switch (o.kind) {
      case OperandKind::column:
        return o.index;
      case OperandKind::temporary:
        return static_cast<std::uint64_t>(p.columns + o.index);
      case OperandKind::constant:
        return kern::kUniformBit | o.index;
      case OperandKind::scalar:
        return kern::kUniformBit | static_cast<unsigned>(kern::kFirstScalar + o.index);
      case OperandKind::none:
        break;
    }
    return kern::kUniformBit | kern::kZero;
  };
  kern::Program out{};
  out.instructions = p.instructions;
  out.columns = p.columns;
  out.reads = p.reads;
  out.writes = p.writes;
  for (int i = 0; i < p.instructions; ++i) {
    const ElementInstruction& in = p.code[static_cast<std::size_t>(i)];
    out.code[i] = static_cast<std::uint64_t>(in.op) | place(in.dst) << 8 | place(in.a) << 16 |
                  place(in.b) << 24 | place(in.c) << 32;
  }
  for (int i = 0; i < p.constants; ++i)
    out.constant[i] = static_cast<float>(p.constant[static_cast<std::size_t>(i)]);
  return out;
}

}  // namespace

void CudaBackend::elementwise(const ElementwiseArgs& args) {
  if (args.rows.empty() || args.program.columns == 0) return;
  with_type(args.rows[0].columns[0], [&]<class T>(T) {
    // Program and rows in one upload.
    struct alignas(16) Header {
      kern::Program program;
    };
    std::vector<kern::Row> rows;
    std::int64_t chunks = 0;
    for (const ElementRow& in : args.rows) {
      kern::Row row{};
      for (std::size_t k = 0; k < in.columns.size(); ++k)
        row.column[k] = elements<T>(in.columns[k]);
      for (std::size_t k = 0; k < in.scalars.size(); ++k)
        row.scalar[k] = static_cast<float>(in.scalars[k]);
      row.n = in.columns[0].numel();
      row.first_chunk = chunks;
      chunks += divide_up(row.n, kern::kChunk);
      rows.push_back(row);
    }
    if (chunks == 0) return;
    const std::size_t row_bytes = rows.size() * sizeof(kern::Row);
    std::vector<std::byte> table(sizeof(Header) + row_bytes);
    const Header header{translate(args.program)};
    const auto put = [&](std::size_t at, const void* from, std::size_t bytes) {
      std::copy_n(static_cast<const std::byte*>(from), bytes,
                  table.begin() + static_cast<std::ptrdiff_t>(at));
    };
    put(0, &header, sizeof header);
    put(sizeof header, rows.data(), row_bytes);
    const Scratch device(allocator(), table.size());
    copy_from_host(device.as<void>(), table.data(), table.size());
    const int slots = args.program.columns + args.program.temporaries;
    launch(kern::elementwise<T>, chunks, kern::kThreads,
           static_cast<std::size_t>(slots * kern::kThreads) * sizeof(kern::Lanes), stream_.get(),
           device.as<kern::Program>(),
           reinterpret_cast<const kern::Row*>(device.as<std::byte>() + sizeof header),
           static_cast<int>(rows.size()));
  });
}

}  // namespace muonlab::cuda

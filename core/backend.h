#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "core/allocator.h"
#include "core/elementwise.h"
#include "core/tensor.h"

namespace muonlab {

// The seam between the engine and a device: one abstract class at the granularity of primitives.
// Every kernel takes a plain struct whose comments are its contract. All tensors of a call live on
// the backend's device and share one floating dtype unless said; callers have checked the shapes.
// Where activations and their gradients are bf16, parameters, the gradients of those, statistics
// (mean, rstd, lse, max_logit) and losses are f32: wide_type() of theirs.
// "beta" is 0 or 1 (any number in gemm): the kernel computes dst = beta * dst + value, so 0 assigns
// and 1 adds.
// Letters: N rows, C channels, B batch, T time, H heads, D head size, V vocabulary.

/// Elementwise functions of one variable that layers use between linear maps.
enum class Activation : std::uint8_t { none, gelu, gelu_tanh, relu, relu_squared, silu };

/// C = alpha op(A) op(B) + beta C for each of `batch` matrices; op transposes where asked.
/// a: (m, k), or (k, m) if trans_a; b: (k, n), or (n, k) if trans_b; c: (m, n). A rank-3 tensor has
/// the batch first; all three are batched, or none. Each of them may be bf16 or f32: if one is
/// bf16, factors are rounded to it; sums are in f32.
struct GemmArgs {
  Tensor a{}, b{}, c{};
  bool trans_a = false, trans_b = false;
  double alpha = 1, beta = 0;
  /// The caller knows that C is symmetric (m = n): half the tiles are computed and mirrored.
  bool symmetric = false;
};

/// y = act(x) wT + bias. x: (N, K), w: (M, K), bias: (M) or undefined, y: (N, M).
/// hidden: (N, K), act(x), assigned; undefined if act is none.
struct LinearArgs {
  Tensor x{}, w{}, bias{}, hidden{}, y{};
  Activation activation = Activation::none;
};

/// forward: y = act(x). backward: dx = beta dx + dy act'(x), and y = act(x) again where y is
/// defined, so that nobody needs to keep it. All of one shape; dx may be dy, y may be x.
struct ActivationArgs {
  Activation kind = Activation::none;
  Tensor x{}, y{};
};
struct ActivationBackwardArgs {
  Activation kind = Activation::none;
  Tensor x{}, dy{}, dx{}, y{};
  double beta = 0;
};

/// dst (C) = beta dst + sum of the rows of src (N, C).
struct ColumnSumArgs {
  Tensor src{}, dst{};
  double beta = 0;
};

/// LayerNorm: y = (x - mean) rstd w + b; rstd = 1/sqrt(var + eps), var biased.
/// RMSNorm (mean undefined): y = x rstd w; rstd = 1/sqrt(mean(x^2) + eps).
/// x, y: (N, C); w: (C); b: (C) or undefined; mean, rstd: (N), assigned.
struct NormArgs {
  Tensor x{}, w{}, b{}, y{}, mean{}, rstd{};
  double eps = 1e-5;
};
/// dx, dw, db undefined where not wanted. Each has its own beta. They are written in this order, so
/// that they may be one tensor.
struct NormBackwardArgs {
  Tensor x{}, w{}, mean{}, rstd{}, dy{}, dx{}, dw{}, db{};
  double beta_dx = 0, beta_dw = 0, beta_db = 0;
};

/// y[b, t] = wte[ids[b, t]] + wpe[position + t]. ids: (B, T) i32, all in [0, V) (checked by the
/// caller); wte: (V, C); wpe: (P, C) or undefined; y: (B, T, C).
struct EmbeddingArgs {
  Tensor ids{}, wte{}, wpe{}, y{};
  std::int64_t position = 0;
};
struct EmbeddingBackwardArgs {
  /// dwte, dwpe undefined where not wanted; written in this order, so that they may be one tensor.
  Tensor ids{}, dy{}, dwte{}, dwpe{};
  std::int64_t position = 0;
  double beta_dwte = 0, beta_dwpe = 0;
};

/// Causal attention with grouped query heads: y = dropout(softmax(q kT scale)) v over keys
/// j <= i + Tk - Tq.
/// Rows are packed: q is (B, Tq, Sq) with head h of a row at h D; k and v are (B, Tk, Sk) and
/// (B, Tk, Sv) with group g at g D. q, k, v may be the same tensor with offsets, see below.
/// y: (B, Tq, H D); lse: (B, H, Tq), the log-sum-exp of each row of scaled logits, assigned.
struct AttentionArgs {
  Tensor q{}, k{}, v{};
  /// Column of head 0 within a row of q, k, v: for a packed row [q | k | v] 0, H D, (H + Hkv) D.
  std::int64_t q_offset = 0, k_offset = 0, v_offset = 0;
  std::int64_t heads = 0, kv_heads = 0, head_size = 0;
  /// Keys in use, <= the second size of k (a cache may be longer than what it holds).
  std::int64_t keys = 0;
  double scale = 1;
  /// Dropout of the probabilities, as DropoutArgs says: element ((b H + h) Tq + i) Tk + j is that
  /// of query i and key j, Tk = keys. 0: none.
  double dropout = 0;
  std::uint64_t dropout_seed = 0, dropout_stream = 0;
  Tensor y{}, lse{};
  /// (H) or undefined: running maximum of the scaled logits over unmasked positions, updated.
  Tensor max_logit{};
};
/// dq, dk, dv lie as q, k, v (Tq = Tk) and are assigned. dy: (B, T, H D).
struct AttentionBackwardArgs {
  AttentionArgs forward{};
  Tensor dy{}, dq{}, dk{}, dv{};
};

/// Mean of -log softmax(logits)[target]. logits: (N, V); targets: (N) i32, in [0, V) (checked by
/// the caller); losses, lse: (N), assigned.
struct CrossEntropyArgs {
  Tensor logits{}, targets{}, losses{}, lse{};
};
/// dlogits = beta dlogits + scale (softmax(logits) - onehot(target)). dlogits may be logits if
/// beta is 0: the probabilities then replace the logits.
struct CrossEntropyBackwardArgs {
  Tensor logits{}, targets{}, lse{}, dlogits{};
  double scale = 1, beta = 0;
};

/// y = beta y + x mask / (1 - p). Element i is dropped if word i % 4 of the Philox block with
/// counter (i / 4, stream) and key = seed with RngPurpose::dropout in its top byte (core/rng.h) is
/// below p 2^32. The mask is a pure function of its key, so the backward pass is the same call on
/// dy.
struct DropoutArgs {
  Tensor x{}, y{};
  double p = 0, beta = 0;
  std::uint64_t seed = 0;
  std::uint64_t stream = 0;  ///< tells steps and places in the model apart
};

/// Runs `program` (core/elementwise.h) over every row. All columns of all rows have one floating
/// dtype; the columns of a row have one shape and do not overlap.
struct ElementwiseArgs {
  const ElementProgram& program;
  std::span<const ElementRow> rows;
};

/// How a model with f32 parameters is computed. Sums are in f32 always; the tensor cores of GPUs
/// take shorter factors several times faster.
enum class Precision : std::uint8_t {
  f32,
  tf32,  ///< factors of products are rounded to ten bits behind the point
  bf16,  ///< factors are rounded to bf16, which has seven, and activations are kept in it
};

/// What one device must be able to do.
class Backend {
 public:
  virtual ~Backend() = default;

  Allocator& allocator() { return allocator_; }

  // Memory and order.
  virtual bool is_host() const = 0;
  /// `bytes` of memory aligned to 64. Throws: DeviceError naming what was asked for.
  virtual void* raw_alloc(std::size_t bytes) = 0;
  virtual void raw_free(void* block, std::size_t bytes) noexcept = 0;
  virtual void copy(void* dst, const void* src, std::size_t bytes) = 0;
  virtual void copy_from_host(void* dst, const void* src, std::size_t bytes) = 0;
  virtual void copy_to_host(void* dst, const void* src, std::size_t bytes) = 0;
  virtual void fill(Tensor& dst, double value) = 0;
  /// Calls f(i) for i in [0, n), in any order and possibly at the same time; kernels called inside
  /// then run on the thread that calls them. If some f(i) throw, the exception of the lowest such i
  /// is thrown once all are done.
  virtual void for_each(std::int64_t n, const std::function<void(std::int64_t)>& f) = 0;

  /// Of everything from now on. Throws: ConfigError if the device cannot compute so.
  virtual void set_precision(Precision precision) = 0;
  /// That of what a model computes from parameters of type `t`, at the present precision.
  virtual DType activation_type(DType t) const = 0;

  // Primitives.
  virtual void gemm(const GemmArgs&) = 0;
  virtual void linear(const LinearArgs&) = 0;
  virtual void activation(const ActivationArgs&) = 0;
  virtual void activation_backward(const ActivationBackwardArgs&) = 0;
  virtual void column_sum(const ColumnSumArgs&) = 0;
  virtual void norm(const NormArgs&) = 0;
  virtual void norm_backward(const NormBackwardArgs&) = 0;
  virtual void embedding(const EmbeddingArgs&) = 0;
  virtual void embedding_backward(const EmbeddingBackwardArgs&) = 0;
  virtual void attention(const AttentionArgs&) = 0;
  virtual void attention_backward(const AttentionBackwardArgs&) = 0;
  virtual void cross_entropy(const CrossEntropyArgs&) = 0;
  virtual void cross_entropy_backward(const CrossEntropyBackwardArgs&) = 0;
  virtual void dropout(const DropoutArgs&) = 0;
  virtual void elementwise(const ElementwiseArgs&) = 0;
  /// sums[i] = sum of the squares of the elements of x[i], accumulated in f64, in an order fixed by
  /// the sizes.
  virtual void sum_squares(std::span<const Tensor> x, std::span<double> sums) = 0;
  /// Sum of all elements, likewise.
  virtual double sum(const Tensor& x) = 0;

 protected:
  // A derived destructor calls allocator().trim(): the cache returns blocks by raw_free.
  Backend() : allocator_(*this) {}

 private:
  Allocator allocator_;
};

}  // namespace muonlab

#include "core/ops/embedding.h"

#include <fmt/format.h>

#include "core/backend.h"
#include "core/error.h"
#include "core/ops/check.h"
#include "core/profile.h"

namespace muonlab {
namespace {

struct EmbeddingOp {
  Tensor ids;
  std::int64_t position;
  Tensor wte{}, wpe{};

  Tensor forward(const Tensor& wte_in, const Tensor& wpe_in) {
    const ProfileScope profile("embedding");
    wte = wte_in;
    wpe = wpe_in;
    Backend& backend = backend_of(wte.device());
    Tensor y = Tensor::empty({ids.shape()[0], ids.shape()[1], wte.shape()[1]},
                             backend.activation_type(wte.dtype()), wte.device());
    backend.embedding({.ids = ids, .wte = wte, .wpe = wpe, .y = y, .position = position});
    return y;
  }

  void backward(Tensor dy, std::span<GradSink, 2> in) {
    const ProfileScope profile("embedding");
    EmbeddingBackwardArgs a{.ids = ids, .dy = dy};
    if (in[0].wanted()) {
      auto [dst, beta] = in[0].open(wte);
      a.dwte = dst;
      a.beta_dwte = beta;
    }
    if (in[1].wanted()) {
      auto [dst, beta] = in[1].open(wpe);
      a.dwpe = dst;
      a.beta_dwpe = beta;
    }
    a.position = position;
    backend_of(wte.device()).embedding_backward(a);
  }
};

}  // namespace

Var embedding(const Tensor& ids, const Var& wte, const Var& wpe, std::int64_t position) {
  check_rank("embedding", "ids", ids, 2);
  check_rank("embedding", "wte", wte.value(), 2);
  check_ids("embedding", "ids", ids, wte.shape()[0]);
  if (wpe.value().defined()) {
    check_rank("embedding", "wpe", wpe.value(), 2);
    check_alike("embedding", "wpe", wpe.value(), wte.value());
    if (wpe.shape()[1] != wte.shape()[1])
      check_shape("embedding", "wpe", wpe.value(), wpe.shape().with_last(wte.shape()[1]),
                  "as wide as wte " + wte.shape().str());
    if (position < 0 || position + ids.shape()[1] > wpe.shape()[0])
      throw ShapeError(fmt::format("[embedding] positions {} to {} must be rows of wpe {}",
                                   position, position + ids.shape()[1] - 1, wpe.shape().str()));
  }
  return record(EmbeddingOp{ids.to(wte.value().device()), position}, wte, wpe);
}

}  // namespace muonlab

#include "nn/forward.h"

#include "core/ops/elementwise.h"

namespace muonlab {

Var Forward::drop(const Var& x, double p, std::uint64_t site) const {
  if (!training || p == 0) return x;
  return dropout(x, p, seed, stream(site));
}

AttentionDropout Forward::attention_dropout(double p, std::uint64_t site) const {
  if (!training) return {};
  return {p, seed, stream(site)};
}

std::uint64_t Forward::stream(std::uint64_t site) const {
  // A model has fewer than 2^16 places that drop; a run has fewer than 2^48 micro-batches.
  return (micro_batch << 16) | site;
}

}  // namespace muonlab

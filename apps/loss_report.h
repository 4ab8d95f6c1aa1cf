#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "apps/json.h"
#include "data/corpus.h"

namespace muonlab {

/// A loss on a whole split, in the units that people compare.
struct LossReport {
  double loss = 0;                           ///< nats per token
  std::int64_t tokens = 0;                   ///< that were predicted
  std::int64_t left_out = 0;                 ///< behind the last whole window
  std::optional<double> bits_per_character;  ///< if the tokens are text
  std::optional<double> above_floor;         ///< nats per token, if the corpus knows its floor

  /// "1.6171 nats per token, 2.3331 bits per character, 0.0412 above the floor"
  std::string text() const;
  void add_to(JsonObject& object) const;
};

/// `loss` is the mean over the windows of `block` tokens of a split of the corpus; the floor is
/// that of the validation split.
LossReport report_loss(double loss, const Corpus& corpus, bool validation, std::int64_t block);

}  // namespace muonlab

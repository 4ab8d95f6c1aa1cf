#pragma once

#include <cstdint>
#include <string_view>

namespace muonlab {

/// Where measured numbers go. Probes and the training loop write; the program implements it.
class MetricSink {
 public:
  virtual ~MetricSink() = default;
  virtual void log(std::int64_t step, std::string_view key, double value) = 0;
};

}  // namespace muonlab

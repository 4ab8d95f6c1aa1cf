#pragma once

#include <span>
#include <string>
#include <vector>

#include "core/param.h"
#include "optim/config.h"

namespace muonlab {

/// One row of the routing table: which parameter goes to which rule, and why.
struct Route {
  std::string param;
  std::string rule;
  ParamKind kind = ParamKind::matrix;
  Shape shape;
  std::string seen_as;  ///< the shape as the rule sees it: "3 x (128, 128)"
  double lr = 0;        ///< peak rate
  double decay = 0;
  double decay_factor = 1;  ///< decay / weight_decay
  std::string reason;       ///< in words: "packed q, k, v"
};

/// Pure function of parameters and configuration: no optimizer is needed to print the table.
/// Throws: ConfigError if neither rule can work on a parameter, or two have one name.
std::vector<Route> route(std::span<const Parameter> params, const OptimizerConfig& config);
/// The table as aligned text, one line a row, with a header.
std::string to_string(std::span<const Route> routes);

}  // namespace muonlab

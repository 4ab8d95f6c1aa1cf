#pragma once

#include <optional>
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

/// What a user said about some parameters, before their kinds decide.
struct RoutePattern {
  std::string text;                      ///< "kind=embedding name=wte*"
  std::optional<ParamKind> kind{};       ///< none: any
  std::string name = "*";                ///< with * for any characters and ? for one
  std::string rule{};                    ///< "": the one that it would have
  double lr_factor = 1;                  ///< of the peak rate
  std::optional<double> decay_factor{};  ///< of the weight decay; none: 1 from rank 2 on, else 0
};

/// The patterns of `config.route`, in their order: "kind=embedding: adamw lr*0.5 decay*0;
/// name=*.mlp.*: lr*2". Throws: ConfigError that says which part is wrong.
std::vector<RoutePattern> parse_routes(const OptimizerConfig& config);

/// Pure function of parameters and configuration: no optimizer is needed to print the table.
/// Throws: ConfigError if no rule can work on a parameter, if a pattern matches none, or if two
/// parameters have one name.
std::vector<Route> route(std::span<const Parameter> params, const OptimizerConfig& config);
/// The table as aligned text, one line a row, with a header.
std::string to_string(std::span<const Route> routes);

}  // namespace muonlab

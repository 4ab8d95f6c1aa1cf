#pragma once

#include <span>
#include <string>

#include "apps/json.h"
#include "optim/routing.h"

namespace muonlab {

/// The routing table in at most `width` columns. Where it is wider, the reasons become notes below
/// it, and columns are left out, the least needed first.
std::string fitted(std::span<const Route> routes, int width);
JsonObject to_json(const Route& route);

}  // namespace muonlab

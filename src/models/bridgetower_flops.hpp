// Floating-point operations of BridgeTower, for BridgeTower::flops.
#pragma once
#include "models/bridgetower.hpp"

namespace viaduct {

double bridgetower_flops(const BridgeTowerConfig&, const BridgeTowerParts&, BridgeTower::Pass, int64_t tokens,
                         bool with_backward, bool executed);

}  // namespace viaduct

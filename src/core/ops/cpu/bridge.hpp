#pragma once
#include "core/base/range.hpp"
#include "core/ops/bridge.hpp"

namespace viaduct::ops::cpu {

void bridge(Tensor y, Tensor h, Tensor c, Tensor s, Bridge);
int64_t bridge_blocks(int64_t elements);  // of the sum for the scalar's gradient
// partial [bridge_blocks] is scratch.
void bridge_backward(const BridgeGrads&, Tensor partial, Tensor dy, Tensor h, Tensor c, Tensor s, Bridge);

}  // namespace viaduct::ops::cpu

#pragma once
#include "core/ops/bridge.hpp"

namespace viaduct::ops::cuda {

void bridge(Ctx&, Tensor y, Tensor h, Tensor c, Tensor s, Bridge);
int64_t bridge_blocks(int64_t elements);  // of the sum for the scalar's gradient
// partial [bridge_blocks] is scratch.
void bridge_backward(Ctx&, const BridgeGrads&, Tensor partial, Tensor dy, Tensor h, Tensor c, Tensor s, Bridge);

}  // namespace viaduct::ops::cuda

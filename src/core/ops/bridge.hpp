// How a link of BridgeTower (Xu et al. 2023) joins the state h of a tower with the state c of the cross-modal encoder.
#pragma once
#include "core/device/context.hpp"

namespace viaduct::ops {

// add: h + c; scaled_add: s h + c; interpolate: (1 - s) h + s c.
enum class Bridge : uint8_t { add, scaled_add, interpolate };

// y, h, c of one size; s [1] of their dtype, absent for `add`. y may be h or c.
void bridge(Ctx&, Tensor y, Tensor h, Tensor c, Tensor s, Bridge);

// Writes dh and dc, each may be absent or dy itself (one of them); adds to ds (gradient dtype), which may be absent.
struct BridgeGrads {
  Tensor dh, dc, ds;
};
void bridge_backward(Ctx&, const BridgeGrads&, Tensor dy, Tensor h, Tensor c, Tensor s, Bridge);

}  // namespace viaduct::ops

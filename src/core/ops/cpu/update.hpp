#pragma once
#include "core/ops/update.hpp"

namespace viaduct::ops::cpu {

void squared_norm(Tensor out, Tensor partial, Tensor x);  // partial [chunks of x] fp64 is scratch
void adamw(const AdamWArgs&);

}  // namespace viaduct::ops::cpu

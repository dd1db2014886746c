#pragma once
#include "core/ops/update.hpp"

namespace viaduct::ops::cuda {

void squared_norm_chunks(Ctx&, Tensor out, Tensor x);
void sum_in_order(Ctx&, Tensor out, Tensor sums);
void clip(Ctx&, Tensor scalars, Tensor squared_norm, Tensor sums);
void adamw(Ctx&, const AdamWArgs&);

}  // namespace viaduct::ops::cuda

#pragma once
#include "core/ops/update.hpp"

namespace viaduct::ops::cuda {

void squared_norm_chunks(Ctx&, Tensor out, Tensor x);
void sum_in_order(Ctx&, Tensor out, Tensor sums);
void clip(Ctx&, Tensor scalars, Tensor squared_norm, Tensor sums);
void adamw(Ctx&, const AdamWArgs&);
void moving_average(Ctx&, Tensor average, Tensor values, Tensor scalars);
void exchange(Ctx&, Tensor a, Tensor b);

}  // namespace viaduct::ops::cuda

#pragma once
#include "core/ops/update.hpp"

namespace viaduct::ops::cpu {

void squared_norm_chunks(Tensor out, Tensor x);
void sum_in_order(Tensor out, Tensor sums);
void clip(Tensor scalars, Tensor squared_norm, Tensor sums);
void adamw(const AdamWArgs&);
void moving_average(Tensor average, Tensor values, Tensor scalars);
void exchange(Tensor a, Tensor b);

}  // namespace viaduct::ops::cpu

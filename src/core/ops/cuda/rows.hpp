#pragma once
#include "core/ops/rows.hpp"

namespace viaduct::ops::cuda {

void gather_rows(Ctx&, Tensor y, Tensor x, Tensor index);
void scatter_rows(Ctx&, Tensor dx, Tensor dy, Tensor index, bool accumulate);
void join_columns(Ctx&, Tensor y, Tensor a, Tensor b);
void split_columns(Ctx&, Tensor a, Tensor b, Tensor y);

}  // namespace viaduct::ops::cuda

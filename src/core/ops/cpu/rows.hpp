#pragma once
#include "core/ops/rows.hpp"

namespace viaduct::ops::cpu {

void gather_rows(Tensor y, Tensor x, Tensor index);
void scatter_rows(Tensor dx, Tensor dy, Tensor index, bool accumulate);
void join_columns(Tensor y, Tensor a, Tensor b);
void split_columns(Tensor a, Tensor b, Tensor y);

}  // namespace viaduct::ops::cpu

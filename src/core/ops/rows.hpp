// Ops that move whole rows. Rows are the leading dimensions of [.., C], flattened.
#pragma once
#include "core/device/context.hpp"

namespace viaduct::ops {

// y [R, C]: row r is row index[r] of x [.., C]; index [R] int32, R may be 0.
void gather_rows(Ctx&, Tensor y, Tensor x, Tensor index);
// dx [.., C]: row index[r] receives row r of dy [R, C], those of one index summed in order of r; the other rows are
// zeros. With `accumulate` dx += that.
void scatter_rows(Ctx&, Tensor dx, Tensor dy, Tensor index, bool accumulate);

// y [R, A + B] = a [R, A] beside b [R, B]; and back.
void join_columns(Ctx&, Tensor y, Tensor a, Tensor b);
void split_columns(Ctx&, Tensor a, Tensor b, Tensor y);

}  // namespace viaduct::ops

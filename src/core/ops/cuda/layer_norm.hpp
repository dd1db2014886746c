#pragma once
#include <algorithm>

#include "core/base/range.hpp"
#include "core/ops/layer_norm.hpp"

namespace viaduct::ops::cuda {

void layer_norm(Ctx&, Tensor y, NormStats, Tensor x, Tensor gamma, Tensor beta, double eps);
// The gradients of gamma and beta are summed per chunk of rows, then over the chunks in a fixed order: a cut that depends
// on the number of rows alone, into at most two blocks for each of an H100's 132 multiprocessors.
// partial [norm_chunks(rows), 2, columns] is scratch.
inline int64_t norm_chunks(int64_t rows) { return std::min<int64_t>(264, ceil_div(rows, 8)); }
void layer_norm_backward(Ctx&, NormGrads, Tensor partial, Tensor dy, Tensor x, NormStats, Tensor gamma);

}  // namespace viaduct::ops::cuda

#pragma once
#include <algorithm>

#include "core/base/range.hpp"
#include "core/ops/layer_norm.hpp"

namespace viaduct::ops::cpu {

void layer_norm(Tensor y, NormStats, Tensor x, Tensor gamma, Tensor beta, double eps);

// The gradients of gamma and beta are summed per chunk of rows, then over the chunks in order: a cut that depends on
// the number of rows alone.
inline constexpr int64_t kMaxNormChunks = 64;
inline int64_t norm_chunks(int64_t rows) { return std::min(kMaxNormChunks, ceil_div(rows, 16)); }
// partial [norm_chunks(rows), 2, columns] is scratch.
void layer_norm_backward(NormGrads, Tensor partial, Tensor dy, Tensor x, NormStats, Tensor gamma);

}  // namespace viaduct::ops::cpu

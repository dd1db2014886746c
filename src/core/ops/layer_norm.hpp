// Layer normalisation over the last dimension (Ba et al. 2016): y = (x - mean) rstd gamma + beta, statistics in fp32
// (fp64 for fp64) by the two-pass formula.
#pragma once
#include "core/device/context.hpp"

namespace viaduct::ops {

struct NormStats {
  Tensor mean, rstd;  // [rows] fp32 (fp64 for fp64)
};
// Absent stats: not wanted (inference).
void layer_norm(Ctx&, Tensor y, NormStats, Tensor x, Tensor gamma, Tensor beta, double eps);

struct NormGrads {
  Tensor dx;                // may alias dy
  Tensor dgamma, dbeta;     // gradient dtype; accumulated; absent together: not wanted
  bool accumulate = false;  // dx += instead of dx =: the residual stream (rule R1)
};
void layer_norm_backward(Ctx&, NormGrads, Tensor dy, Tensor x, NormStats, Tensor gamma);

}  // namespace viaduct::ops

#pragma once
#include "core/ops/contrastive.hpp"

namespace viaduct::ops::cuda {

void l2_normalize(Ctx&, Tensor y, Tensor x);
void l2_normalize_backward(Ctx&, Tensor dx, Tensor dy, Tensor x);
void contrastive(Ctx&, Tensor losses, const ContrastiveGrads&, const ContrastiveArgs&);

}  // namespace viaduct::ops::cuda

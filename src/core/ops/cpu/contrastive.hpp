#pragma once
#include "core/ops/contrastive.hpp"

namespace viaduct::ops::cpu {

void l2_normalize(Tensor y, Tensor x);
void l2_normalize_backward(Tensor dx, Tensor dy, Tensor x);
void contrastive(Ctx&, Tensor losses, const ContrastiveGrads&, const ContrastiveArgs&);

}  // namespace viaduct::ops::cpu

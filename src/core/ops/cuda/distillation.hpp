#pragma once
#include "core/ops/distillation.hpp"

namespace viaduct::ops::cuda {

void distillation_kl(Ctx&, Tensor losses, Tensor dlogits, Tensor logits, Tensor teacher, DistillationKl);
void squared_error(Ctx&, Tensor losses, Tensor dx, Tensor x, Tensor target, double weight);
void argmax(Ctx&, Tensor labels, Tensor logits);

}  // namespace viaduct::ops::cuda

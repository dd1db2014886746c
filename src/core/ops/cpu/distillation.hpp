#pragma once
#include "core/ops/distillation.hpp"

namespace viaduct::ops::cpu {

void distillation_kl(Tensor losses, Tensor dlogits, Tensor logits, Tensor teacher, DistillationKl);
void squared_error(Tensor losses, Tensor dx, Tensor x, Tensor target, double weight);
void argmax(Tensor labels, Tensor logits);

}  // namespace viaduct::ops::cpu

#pragma once
#include "core/ops/loss.hpp"

namespace viaduct::ops::cpu {

void cross_entropy(Tensor losses, Tensor dlogits, Tensor logits, Tensor labels, double weight);
void soft_cross_entropy(Tensor losses, Tensor dlogits, Tensor logits, const SoftLabels&);
void softmax(Tensor probabilities, Tensor logits);

}  // namespace viaduct::ops::cpu

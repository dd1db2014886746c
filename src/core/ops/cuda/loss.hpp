#pragma once
#include "core/ops/loss.hpp"

namespace viaduct::ops::cuda {

// A label that is no class cannot be refused on the device: its loss is not a number.
void cross_entropy(Ctx&, Tensor losses, Tensor dlogits, Tensor logits, Tensor labels, double weight);
void soft_cross_entropy(Ctx&, Tensor losses, Tensor dlogits, Tensor logits, const SoftLabels&);
void softmax(Ctx&, Tensor probabilities, Tensor logits);

}  // namespace viaduct::ops::cuda

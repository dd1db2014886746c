// What a student is told by its teacher. Every loss is added to `losses` [B] fp32 (fp64 for fp64), and its gradient to
// that of the student's tensor; either may be absent. They are those of the *sum* over the batch, computed in fp32
// (fp64 for fp64).
#pragma once
#include "core/device/context.hpp"

namespace viaduct::ops {

// weight KL(softmax(teacher / temperature) || softmax(logits / temperature)) (Hinton et al. 2015), whose gradient is
// weight / temperature (softmax(logits / temperature) - softmax(teacher / temperature)). All are [B, C].
struct DistillationKl {
  double temperature = 1, weight = 1;
};
void distillation_kl(Ctx&, Tensor losses, Tensor dlogits, Tensor logits, Tensor teacher, DistillationKl);

// weight times the sum over the sample's elements of (x - target)^2. x, target, dx [B, ..].
void squared_error(Ctx&, Tensor losses, Tensor dx, Tensor x, Tensor target, double weight);

// labels [B] int32: the column of the largest of logits [B, C], the first of equal ones.
void argmax(Ctx&, Tensor labels, Tensor logits);

}  // namespace viaduct::ops

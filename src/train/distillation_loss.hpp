// The losses between a student's logits and its teacher's.
#pragma once
#include "core/device/context.hpp"
#include "train/distillation_choice.hpp"

namespace viaduct {

// Adds those that look at the teacher's logits to losses [B] and their gradients to d_logits. logits, teacher [B, C].
void add_teacher_losses(Ctx&, const DistillationChoice&, Tensor losses, Tensor d_logits, Tensor logits, Tensor teacher);

}  // namespace viaduct

// Losses. Gradients are those of the *sum* over the batch; the division by the number of terms comes after the
// reduction.
#pragma once
#include "core/device/context.hpp"

namespace viaduct::ops {

constexpr int32_t kIgnoredLabel = -100;  // of what a loss leaves out, torch's ignore_index

// losses [B] fp32 (fp64 for fp64) = weight (logsumexp(logits) - logits[label]); dlogits (absent: not wanted; may alias
// logits) = weight (softmax - onehot). logits [B, C]; labels [B] int32; kIgnoredLabel contributes nothing. Computed in
// fp32 (fp64 for fp64).
void cross_entropy(Ctx&, Tensor losses, Tensor dlogits, Tensor logits, Tensor labels, double weight = 1);

// probabilities [B, C] fp32 of logits [B, C].
void softmax(Ctx&, Tensor probabilities, Tensor logits);

}  // namespace viaduct::ops

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

// What the rows of a batch are, when that is not one class each: target_c = (1 - smoothing) (share [c = label] +
// (1 - share) [c = other]) + smoothing / C. Two labels and a share are all that mixed images need.
struct SoftLabels {
  Tensor labels;          // [B] int32
  Tensor others, shares;  // [B] int32, fp32 (fp64 for fp64); absent: every share is 1
  double smoothing = 0;
};
// losses [B] = logsumexp(logits) - sum_c target_c logits_c, dlogits = softmax - target; otherwise as cross_entropy: timm's
// SoftTargetCrossEntropy and torch's label smoothing, with no target ever written out.
void soft_cross_entropy(Ctx&, Tensor losses, Tensor dlogits, Tensor logits, const SoftLabels&);

// probabilities [B, C] fp32 of logits [B, C].
void softmax(Ctx&, Tensor probabilities, Tensor logits);

}  // namespace viaduct::ops

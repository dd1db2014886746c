// The step tail on the wire: written into the kTailSlot elements in front of the flat gradients, where a plain sum over
// ranks is exact. Every number is a fixed-point integer in two's complement, cut into digits that floats add without
// rounding.
#pragma once
#include "comm/grad_sync.hpp"

namespace viaduct {

// Ranks whose sum is exact: a digit has 11 bits, a float 24.
inline constexpr int kTailMaxRanks = 1 << 13;

// `slot`: fp32 or fp64 [kTailSlot]. A loss that is not finite, or beyond 2^50, counts in `nonfinite` and not in the
// sum.
void write_tail(const StepTail&, Tensor slot);
StepTail read_tail(Tensor slot);

// The sum of a tensor of losses, in double.
double sum_losses(Tensor losses);

}  // namespace viaduct

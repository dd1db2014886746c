// What every rank learns of a step with the last bucket of gradients, without a collective of its own: sums that are
// formed on the device and travel in kTailSlot elements in front of the flat gradients, where a plain sum over ranks is
// exact. On the wire every number is a fixed-point integer in two's complement, cut into digits that floats add without
// rounding.
#pragma once
#include "core/device/context.hpp"

namespace viaduct::ops {

// fp64 [step_sum::count] on the device, by these places.
namespace step_sum {
enum : int64_t {
  loss,         // over all loss terms, those of ranks with a loss that is not finite left out
  terms,        // how many there were: the divisor
  quarantined,  // samples replaced
  stop,         // ranks that were asked to stop
  nonfinite,    // ranks that saw a loss that is not finite, or beyond 2^50
  count
};
}

inline constexpr int64_t kTailSlot = 64;
inline constexpr int kTailMaxRanks = 1 << 13;  // whose sum is exact: a digit has 11 bits, a float 24

// sums += (0, 0, quarantined, stop, 0); counts [2] fp64: quarantined, stop.
void add_counts(Ctx&, Tensor sums, Tensor counts);
// sums += (sum of losses, terms, 0, 0, 0); losses [n] fp32 or fp64, added up in fp64 in an order that depends
// on n alone.
void add_losses(Ctx&, Tensor sums, Tensor losses, int64_t terms);
// slot [kTailSlot] fp32 or fp64.
void write_step_tail(Ctx&, Tensor slot, Tensor sums);
void read_step_tail(Ctx&, Tensor sums, Tensor slot);

}  // namespace viaduct::ops

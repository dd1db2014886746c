// The types in which gradients travel and are added up: fp32 as they are, bf16 (parallel.wire), or fixed point, int64 in
// units of 2^-44, whose sums have the same bits in any order (parallel.reduction = invariant).
#pragma once
#include "core/base/range.hpp"
#include "core/tensor/tensor.hpp"

namespace viaduct {

// What a strategy is told of it.
struct WireOptions {
  DType type = DType::f32;  // f32, bf16 or i64
  int64_t addends = 1;      // i64: how many gradients one step adds up, over all ranks
};

inline constexpr int kWireFraction = 44;  // bits behind the point of int64

// Host memory, flat, of one length. to = from between fp32 and one of the three, rounded to nearest.
void wire_convert(const Tensor& to, const Tensor& from);
// to += from: fp32 gets fp32 or bf16, int64 gets int64.
void wire_add(const Tensor& to, const Tensor& from);

// The largest magnitude that as many addends may have in fixed point without overflow.
inline double largest_addend(int64_t addends) { return double(int64_t(1) << (63 - kWireFraction)) / double(addends); }

// What a look at fp32 gradients before they become fixed point finds.
struct WireCheck {
  bool finite = true;
  int64_t too_large = -1;  // the first element above the limit
};
WireCheck check_addend(const Tensor&, double limit);

}  // namespace viaduct

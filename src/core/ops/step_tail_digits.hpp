// The step tail on the wire, the same on every device; see step_tail.hpp.
#pragma once
#include <cmath>
#include <cstdint>

#include "core/base/philox.hpp"
#include "core/ops/step_tail.hpp"

namespace viaduct::ops::step_tail {

constexpr int kDigitBits = 11;
constexpr int kLossDigits = 12, kCountDigits = 6;  // 132 and 66 bits
constexpr int kLossFraction = 64;                  // bits behind the point: a double up to 2^50 fits nearly exactly
static_assert(kLossDigits + 4 * kCountDigits <= kTailSlot);

using Wide = unsigned __int128;

template <class T>
VIADUCT_HD T* put(T* at, Wide value, int digits) {
  for (int i = 0; i < digits; ++i, value >>= kDigitBits) *at++ = T(uint32_t(value) & ((1u << kDigitBits) - 1));
  return at;
}

// Digits that were summed carry over here; what leaves the top is the wrap-around of two's complement.
template <class T>
VIADUCT_HD __int128 take(const T*& at, int digits) {
  Wide value = 0;
  for (int i = 0; i < digits; ++i) value += Wide(uint64_t(*at++)) << (i * kDigitBits);
  return __int128(value);
}

// A double times 2^64, cut to an integer, and back: by the halves, because a device converts no wider than 64 bits, and
// of the absolute value, whose fraction has all of its bits.
VIADUCT_HD inline __int128 to_fixed(double x) {
  double size = std::fabs(x), whole = std::floor(size);
  __int128 fixed = (__int128(int64_t(whole)) << kLossFraction) + __int128(uint64_t((size - whole) * 0x1p64));
  return x < 0 ? -fixed : fixed;
}
VIADUCT_HD inline double from_fixed(__int128 fixed) {
  __int128 size = fixed < 0 ? -fixed : fixed;
  double x = double(int64_t(size >> kLossFraction)) + double(uint64_t(size)) * 0x1p-64;
  return fixed < 0 ? -x : x;
}

template <class T>
VIADUCT_HD void write(T* at, const double* sums) {
  const double loss = sums[step_sum::loss], bad = sums[step_sum::nonfinite];
  const bool usable = std::fabs(loss) < 0x1p50;  // false for NaN
  at = put(at, Wide(usable ? to_fixed(loss) : 0), kLossDigits);
  for (int64_t i = step_sum::terms; i < step_sum::nonfinite; ++i)
    at = put(at, Wide(__int128(int64_t(sums[i]))), kCountDigits);
  put(at, Wide(__int128(int64_t(usable || bad > 0 ? bad : 1))), kCountDigits);
}

template <class T>
VIADUCT_HD void read(double* sums, const T* at) {
  sums[step_sum::loss] = from_fixed(take(at, kLossDigits));
  for (int64_t i = step_sum::terms; i < step_sum::count; ++i) sums[i] = double(int64_t(take(at, kCountDigits)));
}

VIADUCT_HD inline void add_counts(double* sums, const double* counts) {
  sums[step_sum::quarantined] += counts[0], sums[step_sum::stop] += counts[1];
}

}  // namespace viaduct::ops::step_tail

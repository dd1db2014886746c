// The mask of dropout: element i of a sample is dropped by word i % 4 of Philox(sample key, i / 4, (Draw::dropout,
// op)).
#pragma once
#include <algorithm>

#include "core/base/philox.hpp"

namespace viaduct::ops::cpu {

// mask[i] = 0 or 1 / (1 - p) for elements first + i of a sample, i < count.
template <class T>
void dropout_mask(T* mask, uint64_t sample_key, uint32_t op, int64_t first, int64_t count, float p) {
  constexpr int64_t kCalls = 16;  // side by side in vector registers
  const uint64_t high = uint64_t(Draw::dropout) << 32 | op;
  const T keep = T(1) / (T(1) - T(p));
  for (int64_t at = first - first % 4; at < first + count; at += 4 * kCalls) {
    T tile[4 * kCalls];
#pragma omp simd
    for (int64_t call = 0; call < kCalls; ++call) {
      Philox random = philox(sample_key, uint64_t(at / 4 + call), high);
      for (int word = 0; word < 4; ++word) tile[4 * call + word] = uniform(random.v[word]) < p ? T(0) : keep;
    }
    int64_t begin = std::max(at, first), end = std::min(at + 4 * kCalls, first + count);
    std::copy(tile + (begin - at), tile + (end - at), mask + (begin - first));
  }
}

}  // namespace viaduct::ops::cpu

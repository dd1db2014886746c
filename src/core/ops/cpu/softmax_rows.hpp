// The softmax of attention and its derivative, on rows of scores that lie in cache, of whole vectors. Several rows at once,
// or each would wait for its own sums.
#pragma once
#include <cmath>

#include "core/ops/cpu/vector_math.hpp"

namespace viaduct::ops::cpu {

inline constexpr int kTogether = 4;  // rows

// Turns rows of scores into exp(score - max) and gives the max and the sum of each; zeros, minus infinity and 1 where no
// key is left.
template <int rows, class C>
void exponentials(C* scores, int64_t n, C* largest, C* sum) {
  constexpr Full<C> kFull{};
  Vec<C> most[rows], sums[rows]{};
  for (int r = 0; r < rows; ++r) {
    C m = -INFINITY;
    const C* row = scores + r * n;
#pragma omp simd reduction(max : m)
    for (int64_t j = 0; j < n; ++j) m = row[j] > m ? row[j] : m;
    largest[r] = m;
    most[r] = Vec<C>{} + (largest[r] == C(-INFINITY) ? C(0) : largest[r]);
  }
  for (int64_t j = 0; j < n; j += kFull)
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      Vec<C> x = exp(load(scores + r * n + j, kFull) - most[r]);
      sums[r] += x;
      store<C>(scores + r * n + j, x, kFull);
    }
  for (int r = 0; r < rows; ++r) {
    sum[r] = total<C>(sums[r]);
    if (sum[r] == C(0)) sum[r] = C(1);
  }
}

// From rows of scores and of d loss / d probability: the probabilities that were used, and scale * d loss / d score.
//   p = exp(score - lse);  ds = p (mask dp - dout . out) scale;  p = p mask
// What stands beyond the keys is not read again.
template <int rows, class C>
void differentiate(C* p, C* dp, int64_t n, const C* log_sum, const C* dot, C scale, const C* mask) {
  constexpr Full<C> kFull{};
  Vec<C> shift[rows], from[rows];
  for (int r = 0; r < rows; ++r) {  // no key was left: no probability either
    shift[r] = Vec<C>{} + (log_sum[r] == C(-INFINITY) ? C(INFINITY) : log_sum[r]);
    from[r] = Vec<C>{} + dot[r] * scale;
  }
  for (int64_t j = 0; j < n; j += kFull)
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      const int64_t at = r * n + j;
      Vec<C> x = exp(load(p + at, kFull) - shift[r]), dx = load(dp + at, kFull) * scale;
      Vec<C> m = mask ? load(mask + at, kFull) : Vec<C>{} + C(1);
      store<C>(dp + at, x * (dx * m - from[r]), kFull);
      store<C>(p + at, x * m, kFull);
    }
}

}  // namespace viaduct::ops::cpu

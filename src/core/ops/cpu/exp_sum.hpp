// The denominator of a softmax over one row.
#pragma once
#include <utility>

#include "core/ops/cpu/vector_math.hpp"
#include "core/tensor/dtype.hpp"

namespace viaduct::ops::cpu {

// The largest of scale x, and the sum of exp(scale x - largest). scale > 0.
template <class T, class C = compute_t<T>>
std::pair<C, C> exp_sum(const T* x, int64_t n, C scale = 1) {
  C largest = C(x[0]), sum = 0;
#pragma omp simd reduction(max : largest)
  for (int64_t i = 0; i < n; ++i) largest = C(x[i]) > largest ? C(x[i]) : largest;
  largest *= scale;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < n; ++i) sum += exp(C(x[i]) * scale - largest);
  return {largest, sum};
}

}  // namespace viaduct::ops::cpu

// A row and the threads that share it: what the losses have in common.
#pragma once
#include <cfloat>

#include "core/ops/cuda/row.cuh"

namespace viaduct::ops::cuda {

// The threads that share a row: a block where rows are long, otherwise a warp.
template <bool block>
struct Team {
  int rank, size;
  int64_t row;
  __device__ Team() {
    if constexpr (block)
      rank = int(threadIdx.x), size = int(blockDim.x), row = blockIdx.x;
    else
      rank = int(threadIdx.x) % kWarp, size = kWarp, row = row_of_warp();
  }
  __device__ float sum(float x, float* shared) const { return block ? block_sum(x, shared) : warp_sum(x); }
  __device__ float max(float x, float* shared) const { return block ? block_max(x, shared) : warp_max(x); }
};

struct ExpSum {
  float largest, sum;  // of scale x, and of exp(scale x - largest)
};

// In one pass: every thread corrects its sum where a larger element appears.
template <bool block, class T>
__device__ ExpSum exp_sum(const Team<block>& team, const T* x, int columns, bool packed, float scale = 1) {
  __shared__ float shared[kWarp];
  float largest = -FLT_MAX, sum = 0;
  for_share(x, columns, packed, team.rank, team.size, [&]<int n>(int, const Pack<T, n>& p) {
    float top = largest;
    for (int i = 0; i < n; ++i) top = fmaxf(top, to_float(p.v[i]) * scale);
    if (top > largest) sum *= expf(largest - top), largest = top;
    for (int i = 0; i < n; ++i) sum += expf(to_float(p.v[i]) * scale - largest);
  });
  float all = team.max(largest, shared);
  return {all, team.sum(sum * expf(largest - all), shared)};
}

// f.template operator()<block>(launch)
template <class F>
void with_team(int64_t rows, int64_t columns, F&& f) {
  if (columns <= 1024)
    f.template operator()<false>(warp_per_row(rows));
  else
    f.template operator()<true>(Launch{unsigned(rows), 512});
}

}  // namespace viaduct::ops::cuda

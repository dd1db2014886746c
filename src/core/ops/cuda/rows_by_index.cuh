// Rows added to those of a table that an index names: deterministic, without atomics and without a pass over the table.
#pragma once
#include "core/ops/cuda/rows.cuh"

namespace viaduct::ops::cuda {

// order [2, n]: the rows [n] in the order of their indices, those of one index in order, and then these indices.
void sort_rows(Ctx&, int32_t* order, const int32_t* index, int64_t n);  // in rows.cu

// How many rows from `first` on have the index of row `first` of the sorted ones; by a warp.
__device__ __forceinline__ int64_t equal_rows(const int32_t* sorted, int64_t first, int64_t n) {
  for (int64_t count = 0;; count += kWarp) {
    int64_t i = first + count + lane();
    unsigned equal = __ballot_sync(kAllLanes, i < n && sorted[i] == sorted[first]);
    if (equal != kAllLanes) return count + __popc(equal);
  }
}

// A warp for every run of equal indices and 32 N columns; the warps of other rows have nothing to do.
template <int N, class To, class From>
__global__ void __launch_bounds__(kRowThreads, 4)
    add_rows_by_index_kernel(To* to, int64_t to_rows, const From* from, const int32_t* order, int64_t n, int64_t width,
                             int64_t skip, bool accumulate) {
  const int32_t* sorted = order + n;
  for (int64_t first = first_row(); first < n; first += row_step()) {
    int32_t index = sorted[first];
    if (index == skip || (first > 0 && sorted[first - 1] == index)) continue;
    To* row = to + checked(index, to_rows) * width;
    int64_t count = equal_rows(sorted, first, n);
    for (int64_t i = (int64_t(blockIdx.y) * kWarp + lane()) * N; i < width; i += int64_t(gridDim.y) * kWarp * N) {
      float sum[N] = {};
      add_rows<N, 8, From>(
          sum, count, [=](int64_t r) { return from + order[first + r] * width + i; }, [](int64_t, const auto&) {});
      if (accumulate) {
        add_pack(row + i, sum);
        continue;
      }
      Pack<To, N> p;
#pragma unroll
      for (int k = 0; k < N; ++k) p.v[k] = from_float<To>(sum[k]);
      store_pack(row + i, p);
    }
  }
}

// to[index[r]] receives (with `accumulate` += ) row r of from [n, width], the sum of those of one index in order of r;
// rows of index `skip` go nowhere. order [2, n] int32 is scratch.
template <class To, class From>
void add_rows_by_index(Ctx& ctx, To* to, int64_t to_rows, const From* from, const int32_t* index, int64_t n,
                       int64_t width, int64_t skip, bool accumulate, Tensor order) {
  sort_rows(ctx, ptr<int32_t>(order), index, n);
  with_width<To, From>({to, from}, width, [&]<int N>() {
    Launch l = row_launch(n);
    l.grid.y = unsigned(std::min<int64_t>(ceil_div(width, kWarp * N), 65535));
    launch(ctx, add_rows_by_index_kernel<N, To, From>, l, to, to_rows, from, ptr<int32_t>(order), n, width, skip,
           accumulate);
  });
}

}  // namespace viaduct::ops::cuda

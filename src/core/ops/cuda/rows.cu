#include "core/ops/cuda/rows.hpp"

#include "core/device/cuda/runtime.hpp"
#include "core/ops/cuda/rows_by_index.cuh"

namespace viaduct::ops::cuda {
namespace {

template <int N, class T>
__global__ void __launch_bounds__(kRowThreads, 4)
    gather_rows_kernel(T* y, const T* x, const int32_t* index, int64_t rows, int64_t x_rows, int64_t width) {
  for (int64_t r = first_row(); r < rows; r += row_step())
    copy_row<N>(y + r * width, x + checked(index[r], x_rows) * width, width);
}

constexpr int kSortThreads = 256, kSortTile = 1024;

// A stable sort by counting: the place of a row is the number of rows before it, so every lane finds that of its own; the
// warps of a block share the comparisons, n^2 altogether.
__global__ void __launch_bounds__(kSortThreads, 4) sort_rows_kernel(int32_t* order, const int32_t* index, int64_t n) {
  constexpr int warps = kSortThreads / kWarp, share = kSortTile / warps;  // of a tile, for a warp
  __shared__ Pack<int32_t> tile[kSortTile / 4];
  __shared__ int before[warps][kWarp];
  int warp = int(threadIdx.x) / kWarp;
  for (int64_t first = int64_t(blockIdx.x) * kWarp; first < n; first += int64_t(gridDim.x) * kWarp) {
    int64_t i = first + lane();
    int32_t mine = i < n ? index[i] : 0;
    int count = 0;
    for (int64_t start = 0; start < n; start += kSortTile) {
      for (int k = int(threadIdx.x); k < kSortTile; k += kSortThreads)
        tile[k / 4].v[k % 4] = start + k < n ? index[start + k] : INT32_MAX;  // after all others
      __syncthreads();
      for (int k = warp * share; k < (warp + 1) * share; k += 4) {
        Pack<int32_t> four = tile[k / 4];
#pragma unroll
        for (int e = 0; e < 4; ++e) count += four.v[e] < mine || (four.v[e] == mine && start + k + e < i);
      }
      __syncthreads();
    }
    before[warp][lane()] = count;
    __syncthreads();
    if (warp == 0 && i < n) {
      int64_t place = 0;
      for (int w = 0; w < warps; ++w) place += before[w][lane()];
      order[place] = int32_t(i), order[n + place] = mine;
    }
    __syncthreads();
  }
}

}  // namespace

void sort_rows(Ctx& ctx, int32_t* order, const int32_t* index, int64_t n) {
  Launch l{unsigned(std::min(ceil_div(n, kWarp), kRowBlocks)), kSortThreads};
  launch(ctx, sort_rows_kernel, l, order, index, n);
}

void gather_rows(Ctx& ctx, Tensor y, Tensor x, Tensor index) {
  int64_t rows = index.numel(), width = x.shape.last();
  dispatch_device(y.dtype, [&]<class T>() {
    with_width<T>({y.data, x.data}, width, [&]<int N>() {
      launch(ctx, gather_rows_kernel<N, T>, row_launch(rows), ptr<T>(y), ptr<T>(x), ptr<int32_t>(index), rows,
             x.shape.rows(), width);
    });
  });
}

void scatter_rows(Ctx& ctx, Tensor dx, Tensor dy, Tensor index, bool accumulate) {
  auto scope = ctx.arena.scope("scatter_rows");
  Tensor order = ctx.arena.temp({2, index.numel()}, DType::i32);
  if (ctx.device().is_meta()) return;
  if (!accumulate) viaduct::cuda::fill_zero(dx.data, dx.bytes(), ctx.stream.native());
  dispatch_device(dx.dtype, [&]<class T>() {
    constexpr int64_t none = INT64_MIN;
    add_rows_by_index(ctx, ptr<T>(dx), dx.shape.rows(), ptr<T>(dy), ptr<int32_t>(index), index.numel(), dx.shape.last(),
                      none, accumulate, order);
  });
}

void join_columns(Ctx& ctx, Tensor y, Tensor a, Tensor b) {
  int64_t rows = y.shape[0], A = a.shape[1], B = b.shape[1];
  dispatch_device(y.dtype, [&]<class T>() {
    copy_rows(ctx, ptr<T>(y), A + B, ptr<T>(a), A, rows, A);
    copy_rows(ctx, ptr<T>(y) + A, A + B, ptr<T>(b), B, rows, B);
  });
}

void split_columns(Ctx& ctx, Tensor a, Tensor b, Tensor y) {
  int64_t rows = y.shape[0], A = a.shape[1], B = b.shape[1];
  dispatch_device(y.dtype, [&]<class T>() {
    copy_rows(ctx, ptr<T>(a), A, ptr<T>(y), A + B, rows, A);
    copy_rows(ctx, ptr<T>(b), B, ptr<T>(y) + A, A + B, rows, B);
  });
}

}  // namespace viaduct::ops::cuda

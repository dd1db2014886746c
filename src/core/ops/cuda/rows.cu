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

}  // namespace

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

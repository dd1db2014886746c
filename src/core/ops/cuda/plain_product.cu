#include "core/ops/cuda/kernel.cuh"
#include "core/ops/cuda/product.hpp"

namespace viaduct::ops::cuda {
namespace {

constexpr int kTile = 16;

template <class T>
struct Matrix {
  const T* data;
  int64_t row_stride, column_stride;
  __device__ float at(int64_t row, int64_t column) const {
    return to_float(data[row * row_stride + column * column_stride]);
  }
};
template <class T>
Matrix<T> matrix(const Tensor& t, bool transposed) {
  int64_t width = t.shape.last();
  return transposed ? Matrix<T>{ptr<T>(t), 1, width} : Matrix<T>{ptr<T>(t), width, 1};
}

template <class T, class Out, class Bias>
__global__ void __launch_bounds__(kTile* kTile)
    plain_product_kernel(Out* d, Matrix<T> left, Matrix<T> right, const Out* added, const Bias* bias, int64_t rows,
                         int64_t columns, int64_t depth) {
  __shared__ float a[kTile][kTile + 1], b[kTile][kTile + 1];
  int x = int(threadIdx.x), y = int(threadIdx.y);
  int64_t row = int64_t(blockIdx.x) * kTile + y, column = int64_t(blockIdx.y) * kTile + x;
  float sum = 0;
  for (int64_t k = 0; k < depth; k += kTile) {
    a[y][x] = row < rows && k + x < depth ? left.at(row, k + x) : 0.0f;
    b[y][x] = column < columns && k + y < depth ? right.at(k + y, column) : 0.0f;
    __syncthreads();
#pragma unroll
    for (int i = 0; i < kTile; ++i) sum += a[y][i] * b[i][x];
    __syncthreads();
  }
  if (row >= rows || column >= columns) return;
  if (added) sum += to_float(added[row * columns + column]);
  if (bias) sum += to_float(bias[column]);
  d[row * columns + column] = from_float<Out>(sum);
}

}  // namespace

void multiply_plainly(Ctx& ctx, const Product& p) {
  ProductKey key = key_of(p);
  dim3 grid(unsigned(ceil_div(key.rows, kTile)), unsigned(ceil_div(key.columns, kTile)));
  dispatch_device(p.left.dtype, [&]<class T>() {
    dispatch_device(p.d.dtype, [&]<class Out>() {
      dispatch_device(p.bias ? p.bias.dtype : p.d.dtype, [&]<class Bias>() {
        launch(ctx, plain_product_kernel<T, Out, Bias>, {grid, dim3(kTile, kTile)}, ptr<Out>(p.d),
               matrix<T>(p.left, p.left_transposed), matrix<T>(p.right, p.right_transposed), ptr<Out>(p.added),
               ptr<Bias>(p.bias), key.rows, key.columns, key.depth);
      });
    });
  });
}

}  // namespace viaduct::ops::cuda

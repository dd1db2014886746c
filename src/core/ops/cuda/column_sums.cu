#include "core/ops/cuda/column_sums.hpp"

#include "core/ops/cuda/kernel.cuh"

namespace viaduct::ops::cuda {
namespace {

// A block sums a chunk of rows, its warps every eighth row of it.
constexpr int kWarps = 8;
constexpr int64_t kMostChunks = 64, kLeastRows = 128;

int64_t chunks_of(const Tensor& matrix) {
  return std::clamp<int64_t>(ceil_div(matrix.shape.rows(), kLeastRows), 1, kMostChunks);
}

// to[chunk, :] = or += the sums of the rows of the chunk; N elements are read at once, and N divides `columns`.
template <int N, class T>
__global__ void __launch_bounds__(kWarp* kWarps)
    column_sums_kernel(float* to, const T* from, int64_t rows, int64_t columns, int64_t rows_of_chunk, bool add) {
  __shared__ float shared[kWarps][kWarp * N];
  int lane = int(threadIdx.x), warp = int(threadIdx.y);
  int64_t first_column = int64_t(blockIdx.x) * kWarp * N, column = first_column + lane * N;
  int64_t first = blockIdx.y * rows_of_chunk, last = min(first + rows_of_chunk, rows);
  float sums[N] = {};
  if (column < columns) {
#pragma unroll 4
    for (int64_t row = first + warp; row < last; row += kWarps) {
      Pack<T, N> in = load_pack<N>(from + row * columns + column);
#pragma unroll
      for (int k = 0; k < N; ++k) sums[k] += to_float(in.v[k]);
    }
  }
#pragma unroll
  for (int k = 0; k < N; ++k) shared[warp][lane * N + k] = sums[k];
  __syncthreads();
  for (int i = warp * kWarp + lane; i < kWarp * N && first_column + i < columns; i += kWarp * kWarps) {
    float sum = 0;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) sum += shared[w][i];
    float* at = to + blockIdx.y * columns + first_column + i;
    *at = add ? *at + sum : sum;
  }
}

void sum_chunks(Ctx& ctx, float* to, const Tensor& from, int64_t chunks, bool add) {
  int64_t rows = from.shape.rows(), columns = from.shape.last();
  dispatch_device(from.dtype, [&]<class T>() {
    with_width<T>({from.data}, columns, [&]<int N>() {
      dim3 grid(unsigned(ceil_div(columns, kWarp * N)), unsigned(chunks));
      launch(ctx, column_sums_kernel<N, T>, {grid, dim3(kWarp, kWarps)}, to, ptr<T>(from), rows, columns,
             ceil_div(rows, chunks), add);
    });
  });
}

}  // namespace

Tensor column_sums_memory(Arena& arena, const Tensor& matrix) {
  return arena.temp({chunks_of(matrix), matrix.shape.last()}, DType::f32);
}

void add_column_sums(Ctx& ctx, Tensor sums, Tensor matrix, Tensor memory) {
  if (matrix.numel() == 0) return;
  int64_t chunks = chunks_of(matrix);
  if (chunks == 1) return sum_chunks(ctx, ptr<float>(sums), matrix, 1, true);
  sum_chunks(ctx, ptr<float>(memory), matrix, chunks, false);
  sum_chunks(ctx, ptr<float>(sums), memory, 1, true);
}

}  // namespace viaduct::ops::cuda

// Rows moved by a warp each, and rows added up in a fixed order.
#pragma once
#include <numeric>

#include "core/ops/cuda/kernel.cuh"

namespace viaduct::ops::cuda {

constexpr int kRowThreads = 128;  // four rows at a time
constexpr int64_t kRowBlocks = 1 << 16;

inline Launch row_launch(int64_t rows) {
  return {unsigned(std::min(ceil_div(rows, kRowThreads / kWarp), kRowBlocks)), kRowThreads};
}
__device__ __forceinline__ int lane() { return int(threadIdx.x) % kWarp; }
// for (int64_t r = first_row(); r < rows; r += row_step()): the rows of this warp
__device__ __forceinline__ int64_t first_row() { return (int64_t(blockIdx.x) * blockDim.x + threadIdx.x) / kWarp; }
__device__ __forceinline__ int64_t row_step() { return int64_t(gridDim.x) * blockDim.x / kWarp; }

// A device cannot say what is wrong: an index beyond its table stops the program before anything is read or written
// beside it.
__device__ __forceinline__ int64_t checked(int32_t index, int64_t rows) {
  if (index < 0 || index >= rows) __trap();
  return index;
}

// By a warp.
template <int N, class T>
__device__ __forceinline__ void copy_row(T* to, const T* from, int64_t width) {
  constexpr int U = 4;
  for (int64_t first = lane() * N; first < width; first += U * kWarp * N) {
    Pack<T, N> held[U];
#pragma unroll
    for (int u = 0; u < U; ++u)
      if (int64_t i = first + u * kWarp * N; i < width) held[u] = load_pack<N>(from + i);
#pragma unroll
    for (int u = 0; u < U; ++u)
      if (int64_t i = first + u * kWarp * N; i < width) store_pack(to + i, held[u]);
  }
}

// Row r of `rows` rows of `width` elements stands at r * stride.
template <int N, class T>
__global__ void __launch_bounds__(kRowThreads, 4)
    copy_rows_kernel(T* to, int64_t to_stride, const T* from, int64_t from_stride, int64_t rows, int64_t width) {
  for (int64_t r = first_row(); r < rows; r += row_step())
    copy_row<N>(to + r * to_stride, from + r * from_stride, width);
}
template <class T>
void copy_rows(Ctx& ctx, T* to, int64_t to_stride, const T* from, int64_t from_stride, int64_t rows, int64_t width) {
  with_width<T>({to, from}, std::gcd(width, std::gcd(to_stride, from_stride)), [&]<int N>() {
    launch(ctx, copy_rows_kernel<N, T>, row_launch(rows), to, to_stride, from, from_stride, rows, width);
  });
}

// sum += the rows at(0), .., at(rows - 1) in this order, N columns of them, of which U are on their way to a thread at
// once; each(r, pack) sees what was read.
template <int N, int U, class T, class At, class Each>
__device__ __forceinline__ void add_rows(float (&sum)[N], int64_t rows, At at, Each each) {
  for (int64_t first = 0; first < rows; first += U) {
    Pack<T, N> held[U];
#pragma unroll
    for (int u = 0; u < U; ++u)
      if (first + u < rows) held[u] = load_pack<N>(at(first + u));
#pragma unroll
    for (int u = 0; u < U; ++u) {
      if (first + u >= rows) break;
      each(first + u, held[u]);
#pragma unroll
      for (int k = 0; k < N; ++k) sum[k] += to_float(held[u].v[k]);
    }
  }
}

// *to += sum, N columns of it.
template <int N, class T>
__device__ __forceinline__ void add_pack(T* to, const float (&sum)[N]) {
  Pack<T, N> p = load_pack<N>(to);
#pragma unroll
  for (int k = 0; k < N; ++k) p.v[k] = from_float<T>(to_float(p.v[k]) + sum[k]);
  store_pack(to, p);
}

}  // namespace viaduct::ops::cuda

// Attention in fp32 without tensor cores, for any type and head dimension: the same algorithm as attention_forward.cuh
// and attention_backward.cuh, on tiles of up to 64 rows that lie in shared memory as fp32. A step is a product of two
// tiles by the whole block, or a pass over a tile of scores; a barrier stands between steps. Rows have an odd number of
// elements, so that neither rows nor columns meet in a bank.
#pragma once
#include "core/ops/cuda/attention_operands.cuh"

namespace viaduct::ops::cuda {

constexpr int kPlainThreads = 256;

// Element (i, j) at data[i * down + j * across], in shared memory.
struct Matrix {
  float* data;
  int down, across;
  __device__ float& at(int i, int j) const { return data[i * down + j * across]; }
  __device__ Matrix transposed() const { return {data, across, down}; }
};
constexpr int odd(int n) { return n | 1; }

// Hands out shared memory.
struct Carver {
  float* next;
  __device__ Matrix matrix(int rows, int columns) {
    Matrix m{next, columns | 1, 1};
    next += rows * (columns | 1);
    return m;
  }
  __device__ float* vector(int n) {
    next += n;
    return next - n;
  }
};
inline size_t plain_shared_bytes(int tile, int dim, int operands, int scores) {
  return (size_t(tile) * size_t(operands * odd(dim) + scores * odd(tile) + 2)) * sizeof(float);
}

// Rows first.. first + n - 1 of a head; and back, times `factor`.
template <class T>
__device__ void load_matrix(Matrix to, const HeadRows<T>& from, int first, int n, int dim) {
  for (int i = int(threadIdx.x); i < n * dim; i += int(blockDim.x))
    to.at(i / dim, i % dim) = to_float(from.row(first + i / dim)[i % dim]);
}
template <class T>
__device__ void store_matrix(const HeadRows<T>& to, Matrix from, int first, int n, int dim, float factor) {
  for (int i = int(threadIdx.x); i < n * dim; i += int(blockDim.x))
    to.row(first + i / dim)[i % dim] = from_float<T>(factor * from.at(i / dim, i % dim));
}
inline __device__ void set_zero(Matrix m, int rows, int columns) {
  for (int i = int(threadIdx.x); i < rows * columns; i += int(blockDim.x)) m.at(i / columns, i % columns) = 0;
}

// c [m, n] = a [m, depth] b [depth, n], or added to it: a thread makes 4 x 4 elements that lie `down` and `across` apart.
template <bool add>
__device__ void multiply(Matrix c, Matrix a, Matrix b, int m, int n, int depth) {
  constexpr int kSide = 4;
  const int down = (m + kSide - 1) / kSide, across = (n + kSide - 1) / kSide;
  for (int at = int(threadIdx.x); at < down * across; at += int(blockDim.x)) {
    const int i = at / across, j = at % across;
    const float *x[kSide], *y[kSide];
    float sums[kSide][kSide] = {};
#pragma unroll
    for (int s = 0; s < kSide; ++s) {  // beyond the edge the last row or column again, for nobody
      x[s] = &a.at(min(i + s * down, m - 1), 0);
      y[s] = &b.at(0, min(j + s * across, n - 1));
    }
    for (int k = 0; k < depth; ++k)
#pragma unroll
      for (int r = 0; r < kSide; ++r)
#pragma unroll
        for (int s = 0; s < kSide; ++s) sums[r][s] += x[r][k * a.across] * y[s][k * b.down];
#pragma unroll
    for (int r = 0; r < kSide; ++r)
#pragma unroll
      for (int s = 0; s < kSide; ++s) {
        if (i + r * down >= m || j + s * across >= n) continue;
        float& to = c.at(i + r * down, j + s * across);
        to = add ? to + sums[r][s] : sums[r][s];
      }
  }
}

// One tile of queries against all keys.
template <class T>
__global__ void __launch_bounds__(kPlainThreads) plain_attention_kernel(AttentionOperands<T> a, int tile) {
  const int tiles = (a.q.rows + tile - 1) / tile, warp = int(threadIdx.x) / kWarp, lane = int(threadIdx.x) % kWarp;
  const HeadIndex at = a.head_of(blockIdx.x / tiles);
  const DropoutMask dropout(a, at);
  const HeadRows<T> keys = a.k.head(at, a.dim), values = a.v.head(at, a.dim);
  Carver carve{dynamic_shared<float>()};
  const Matrix q = carve.matrix(tile, a.dim), k = carve.matrix(tile, a.dim), v = carve.matrix(tile, a.dim),
               o = carve.matrix(tile, a.dim), s = carve.matrix(tile, tile);
  float *largest = carve.vector(tile), *sum = carve.vector(tile);
  const int first = int(blockIdx.x) % tiles * tile, queries = min(tile, a.q.rows - first);
  load_matrix(q, a.q.head(at, a.dim), first, queries, a.dim);
  set_zero(o, queries, a.dim);
  for (int i = int(threadIdx.x); i < queries; i += int(blockDim.x)) largest[i] = -INFINITY, sum[i] = 0;
  for (int key = 0; key < a.k.rows; key += tile) {
    const int n = min(tile, a.k.rows - key);
    __syncthreads();
    load_matrix(k, keys, key, n, a.dim);
    load_matrix(v, values, key, n, a.dim);
    __syncthreads();
    multiply<false>(s, q, k.transposed(), queries, n, a.dim);
    __syncthreads();
    for (int i = warp; i < queries; i += kPlainThreads / kWarp) {
      const float before = largest[i];
      float most = before, total = 0;
      for (int j = lane; j < n; j += kWarp) {
        float& x = s.at(i, j);
        x = a.attends(at, key + j) ? a.scale * x : -INFINITY;
        most = fmaxf(most, x);
      }
      most = warp_max(most);
      const float shift = most == -INFINITY ? 0 : most, factor = expf(before - shift);
      for (int j = lane; j < n; j += kWarp) {
        float& x = s.at(i, j);
        x = expf(x - shift), total += x;
        if (a.sample_keys) x = dropout.keeps(first + i, key + j) ? a.keep * x : 0;
      }
      total = warp_sum(total);
      for (int d = lane; d < a.dim; d += kWarp) o.at(i, d) *= factor;
      __syncwarp();
      if (lane == 0) largest[i] = most, sum[i] = sum[i] * factor + total;
    }
    __syncthreads();
    multiply<true>(o, s, v, queries, a.dim, n);
  }
  __syncthreads();
  const HeadRows<T> out = a.out.head(at, a.dim);
  for (int i = int(threadIdx.x); i < queries * a.dim; i += int(blockDim.x)) {
    const int row = i / a.dim, d = i % a.dim;
    out.row(first + row)[d] = from_float<T>(sum[row] == 0 ? 0 : o.at(row, d) / sum[row]);
  }
  if (a.lse)
    for (int i = int(threadIdx.x); i < queries; i += int(blockDim.x))
      a.lse[a.statistic(at, first + i)] = sum[i] == 0 ? -INFINITY : largest[i] + logf(sum[i]);
}

// What both passes backward have of a tile of queries and one of keys.
struct BackwardTile {
  Matrix q, k, v, dout, p, ds;
  float *lse, *dot;  // of the queries; lse is infinite where no key was left
  __device__ BackwardTile(Carver& carve, int tile, int dim)
      : q(carve.matrix(tile, dim)),
        k(carve.matrix(tile, dim)),
        v(carve.matrix(tile, dim)),
        dout(carve.matrix(tile, dim)),
        p(carve.matrix(tile, tile)),
        ds(carve.matrix(tile, tile)),
        lse(carve.vector(tile)),
        dot(carve.vector(tile)) {}

  template <class T>
  __device__ void load_keys(const AttentionOperands<T>& a, HeadIndex at, int key, int n) const {
    load_matrix(k, a.k.head(at, a.dim), key, n, a.dim);
    load_matrix(v, a.v.head(at, a.dim), key, n, a.dim);
  }
  template <class T>
  __device__ void load_queries(const AttentionOperands<T>& a, HeadIndex at, int query, int n) const {
    const HeadRows<T> dout_rows = a.dout.head(at, a.dim), out = a.out.head(at, a.dim);
    load_matrix(q, a.q.head(at, a.dim), query, n, a.dim);
    load_matrix(dout, dout_rows, query, n, a.dim);
    const int lane = int(threadIdx.x) % kWarp;
    for (int i = int(threadIdx.x) / kWarp; i < n; i += kPlainThreads / kWarp) {
      float sum = 0;
      for (int d = lane; d < a.dim; d += kWarp)
        sum += to_float(dout_rows.row(query + i)[d]) * to_float(out.row(query + i)[d]);
      sum = warp_sum(sum);
      const float log_sum = a.lse[a.statistic(at, query + i)];
      if (lane == 0) dot[i] = sum, lse[i] = log_sum == -INFINITY ? INFINITY : log_sum;
    }
  }

  // p = mask exp(scale q k^T - lse), ds = scale p (mask dout v^T - dot); the block stands at a barrier before and after.
  template <class T>
  __device__ void differentiate(const AttentionOperands<T>& a, HeadIndex at, int query, int queries, int key,
                                int keys) const {
    const DropoutMask dropout(a, at);
    multiply<false>(p, q, k.transposed(), queries, keys, a.dim);
    multiply<false>(ds, dout, v.transposed(), queries, keys, a.dim);
    __syncthreads();
    for (int index = int(threadIdx.x); index < queries * keys; index += int(blockDim.x)) {
      const int i = index / keys, j = index % keys;
      const float x = a.attends(at, key + j) ? expf(a.scale * p.at(i, j) - lse[i]) : 0;
      const float mask = !a.sample_keys ? 1 : dropout.keeps(query + i, key + j) ? a.keep : 0;
      ds.at(i, j) = a.scale * x * (mask * ds.at(i, j) - dot[i]);
      p.at(i, j) = mask * x;
    }
    __syncthreads();
  }
};

// dq of one tile of queries.
template <class T>
__global__ void __launch_bounds__(kPlainThreads) plain_query_gradient_kernel(AttentionOperands<T> a, int tile) {
  const int tiles = (a.q.rows + tile - 1) / tile;
  const HeadIndex at = a.head_of(blockIdx.x / tiles);
  Carver carve{dynamic_shared<float>()};
  const BackwardTile t(carve, tile, a.dim);
  const Matrix dq = carve.matrix(tile, a.dim);
  const int query = int(blockIdx.x) % tiles * tile, queries = min(tile, a.q.rows - query);
  t.load_queries(a, at, query, queries);
  set_zero(dq, queries, a.dim);
  for (int key = 0; key < a.k.rows; key += tile) {
    const int keys = min(tile, a.k.rows - key);
    __syncthreads();
    t.load_keys(a, at, key, keys);
    __syncthreads();
    t.differentiate(a, at, query, queries, key, keys);
    multiply<true>(dq, t.ds, t.k, queries, a.dim, keys);
  }
  __syncthreads();
  store_matrix(a.dq.head(at, a.dim), dq, query, queries, a.dim, 1);
}

// dk and dv of one tile of keys.
template <class T>
__global__ void __launch_bounds__(kPlainThreads) plain_key_gradient_kernel(AttentionOperands<T> a, int tile) {
  const int tiles = (a.k.rows + tile - 1) / tile;
  const HeadIndex at = a.head_of(blockIdx.x / tiles);
  Carver carve{dynamic_shared<float>()};
  const BackwardTile t(carve, tile, a.dim);
  const Matrix dk = carve.matrix(tile, a.dim), dv = carve.matrix(tile, a.dim);
  const int key = int(blockIdx.x) % tiles * tile, keys = min(tile, a.k.rows - key);
  t.load_keys(a, at, key, keys);
  set_zero(dk, keys, a.dim);
  set_zero(dv, keys, a.dim);
  for (int query = 0; query < a.q.rows; query += tile) {
    const int queries = min(tile, a.q.rows - query);
    __syncthreads();
    t.load_queries(a, at, query, queries);
    __syncthreads();
    t.differentiate(a, at, query, queries, key, keys);
    multiply<true>(dv, t.p.transposed(), t.dout, keys, a.dim, queries);
    multiply<true>(dk, t.ds.transposed(), t.q, keys, a.dim, queries);
  }
  __syncthreads();
  store_matrix(a.dk.head(at, a.dim), dk, key, keys, a.dim, 1);
  store_matrix(a.dv.head(at, a.dim), dv, key, keys, a.dim, 1);
}

}  // namespace viaduct::ops::cuda

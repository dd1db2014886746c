#include "core/ops/cuda/contrastive.hpp"

#include "core/ops/cuda/loss.hpp"
#include "core/ops/cuda/row.cuh"

namespace viaduct::ops::cuda {
namespace {

constexpr float kSmallestNorm = 1e-12f;  // torch's default

// f(column) for this lane's share of a row.
template <class F>
__device__ __forceinline__ void for_lane(int64_t columns, F f) {
  for (int64_t i = threadIdx.x % kWarp; i < columns; i += kWarp) f(i);
}

template <class T>
__global__ void normalize_rows(T* y, const T* x, int64_t rows, int64_t columns) {
  const int64_t row = row_of_warp(), start = row * columns;
  if (row >= rows) return;
  float square = 0;
  for_lane(columns, [&](int64_t i) { square += to_float(x[start + i]) * to_float(x[start + i]); });
  const float norm = fmaxf(sqrtf(warp_sum(square)), kSmallestNorm);
  for_lane(columns, [&](int64_t i) { y[start + i] = from_float<T>(to_float(x[start + i]) / norm); });
}

template <class T>
__global__ void normalize_rows_backward(T* dx, const T* dy, const T* x, int64_t rows, int64_t columns) {
  const int64_t row = row_of_warp(), start = row * columns;
  if (row >= rows) return;
  float square = 0, product = 0;
  for_lane(columns, [&](int64_t i) {
    float v = to_float(x[start + i]);
    square += v * v, product += v * to_float(dy[start + i]);
  });
  const float norm = sqrtf(warp_sum(square));
  product = warp_sum(product);
  const bool cut = norm < kSmallestNorm;  // there the norm is a constant
  const float scale = 1 / (cut ? kSmallestNorm : norm), along = cut ? 0 : product * scale * scale;
  for_lane(columns, [&](int64_t i) {
    dx[start + i] = from_float<T>((to_float(dy[start + i]) - along * to_float(x[start + i])) * scale);
  });
}

// Working memory.
struct Scratch {
  Tensor logits;  // [R, N] fp32, then the gradient of the logits
  Tensor labels;  // [R] int32
  Tensor scale;   // [1] fp32: exp(log_scale)
  Tensor dq;      // [R, C] fp32: what is to be added
  Tensor dots;    // [R] fp32: q dq
};

Scratch make_scratch(Ctx& ctx, const ContrastiveGrads& grads, const ContrastiveArgs& a) {
  const int64_t R = a.q.shape[0], N = a.k.shape[0];
  Scratch s{.logits = ctx.arena.temp({R, N}, DType::f32),
            .labels = ctx.arena.temp({R}, DType::i32),
            .scale = ctx.arena.temp({1}, DType::f32)};
  if (grads.dq || grads.dlog_scale)
    s.dq = ctx.arena.temp(a.q.shape, DType::f32), s.dots = ctx.arena.temp({R}, DType::f32);
  return s;
}

constexpr int kThreads = 256;

template <class S>
__global__ void prepare(int32_t* labels, float* scale, const S* log_scale, int64_t rows, int64_t first) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i == 0) *scale = expf(to_float(*log_scale));
  if (i < rows) labels[i] = int32_t(first + i);
}

// Element (i, l) of an operand is data[i * row + l * step]; one of the two is 1.
template <class T>
struct Matrix {
  const T* data;
  int64_t row, step;
};

constexpr int kTile = 32;
using Tile = float[kTile][kTile + 1];  // [l][i], without bank conflicts whichever of them neighbours in memory

// Elements beyond [m, depth] are zeros.
template <class T>
__device__ __forceinline__ void load_tile(Tile& tile, const Matrix<T>& x, int64_t i0, int64_t l0, int64_t m,
                                          int64_t depth) {
  const int across = int(threadIdx.x) % kTile;
  for (int down = int(threadIdx.x) / kTile; down < kTile; down += kThreads / kTile) {
    const int i = x.step == 1 ? down : across, l = x.step == 1 ? across : down;
    const bool inside = i0 + i < m && l0 + l < depth;
    tile[l][i] = inside ? to_float(x.data[(i0 + i) * x.row + (l0 + l) * x.step]) : 0;
  }
}

// out [m, n] = scale sum over l of a (i, l) b (j, l), in order of l and in fp32; accumulate: added to out. Products here
// are too small to be worth tensor cores.
template <class Out, class A, class B>
__global__ void __launch_bounds__(kThreads) product(Out* out, const Matrix<A> a, const Matrix<B> b, const float* scale,
                                                    int64_t m, int64_t n, int64_t depth, bool accumulate) {
  constexpr int kRows = kTile * kTile / kThreads;  // of a thread, in one column
  __shared__ Tile left, right;
  const int column = int(threadIdx.x) % kTile, row = int(threadIdx.x) / kTile * kRows;
  const int64_t i0 = int64_t(blockIdx.y) * kTile, j0 = int64_t(blockIdx.x) * kTile;
  float sums[kRows] = {};
  for (int64_t l0 = 0; l0 < depth; l0 += kTile) {
    load_tile(left, a, i0, l0, m, depth);
    load_tile(right, b, j0, l0, n, depth);
    __syncthreads();
    for (int l = 0; l < kTile; ++l)
      for (int r = 0; r < kRows; ++r) sums[r] += left[l][row + r] * right[l][column];
    __syncthreads();
  }
  for (int r = 0; r < kRows; ++r) {
    if (i0 + row + r >= m || j0 + column >= n) continue;
    Out* to = out + (i0 + row + r) * n + j0 + column;
    const float x = *scale * sums[r];
    *to = from_float<Out>(accumulate ? to_float(*to) + x : x);
  }
}

template <class Out, class A, class B>
void multiply(const Ctx& ctx, Out* out, Matrix<A> a, Matrix<B> b, const Tensor& scale, int64_t m, int64_t n,
              int64_t depth, bool accumulate) {
  dim3 grid(unsigned(ceil_div(n, kTile)), unsigned(ceil_div(m, kTile)));
  launch(ctx, product<Out, A, B>, {grid, kThreads}, out, a, b, ptr<float>(scale), m, n, depth, accumulate);
}

// dq [R, C] += added, unless it is null; dots [R] = q added.
template <class T>
__global__ void add_query_grads(T* dq, float* dots, const float* added, const T* q, int64_t rows, int64_t columns) {
  const int64_t row = row_of_warp(), start = row * columns;
  if (row >= rows) return;
  float sum = 0;
  for_lane(columns, [&](int64_t i) {
    sum += to_float(q[start + i]) * added[start + i];
    if (dq) dq[start + i] = from_float<T>(to_float(dq[start + i]) + added[start + i]);
  });
  sum = warp_sum(sum);
  if (threadIdx.x % kWarp == 0) dots[row] = sum;
}

__global__ void __launch_bounds__(kThreads) add_sum(float* to, const float* x, int64_t n) {
  __shared__ float shared[kWarp];
  float sum = 0;
  for (int64_t i = threadIdx.x; i < n; i += kThreads) sum += x[i];
  sum = block_sum(sum, shared);
  if (threadIdx.x == 0) *to += sum;
}

// s.logits hold G, the gradient of the logits. dq = scale G k, dk = scale G^T q; the gradient of log_scale, the sum of
// G * logits, is that of q * dq.
template <class T>
void add_gradients(const Ctx& ctx, const Scratch& s, const ContrastiveGrads& grads, const ContrastiveArgs& a) {
  const int64_t R = a.q.shape[0], N = a.k.shape[0], C = a.q.shape[1];
  const float* g = ptr<float>(s.logits);
  const T *q = ptr<T>(a.q), *k = ptr<T>(a.k);
  if (s.dq) {
    multiply(ctx, ptr<float>(s.dq), Matrix<float>{g, N, 1}, Matrix<T>{k, 1, C}, s.scale, R, C, N, false);
    launch(ctx, add_query_grads<T>, warp_per_row(R), ptr<T>(grads.dq), ptr<float>(s.dots), ptr<float>(s.dq), q, R, C);
    if (grads.dlog_scale) launch(ctx, add_sum, {1, kThreads}, ptr<float>(grads.dlog_scale), ptr<float>(s.dots), R);
  }
  if (grads.dk) multiply(ctx, ptr<T>(grads.dk), Matrix<float>{g, 1, N}, Matrix<T>{q, 1, C}, s.scale, N, C, R, true);
}

}  // namespace

void l2_normalize(Ctx& ctx, Tensor y, Tensor x) {
  dispatch_device(x.dtype, [&]<class T>() {
    launch(ctx, normalize_rows<T>, warp_per_row(x.shape.rows()), ptr<T>(y), ptr<T>(x), x.shape.rows(), x.shape.last());
  });
}

void l2_normalize_backward(Ctx& ctx, Tensor dx, Tensor dy, Tensor x) {
  dispatch_device(x.dtype, [&]<class T>() {
    launch(ctx, normalize_rows_backward<T>, warp_per_row(x.shape.rows()), ptr<T>(dx), ptr<T>(dy), ptr<T>(x),
           x.shape.rows(), x.shape.last());
  });
}

void contrastive(Ctx& ctx, Tensor losses, const ContrastiveGrads& grads, const ContrastiveArgs& a) {
  auto scope = ctx.arena.scope("contrastive");
  const Scratch s = make_scratch(ctx, grads, a);
  if (ctx.device().is_meta() || a.q.numel() == 0) return;
  const int64_t R = a.q.shape[0], N = a.k.shape[0], C = a.q.shape[1];
  dispatch_device(a.log_scale.dtype, [&]<class S>() {
    launch(ctx, prepare<S>, {unsigned(ceil_div(R, kThreads)), kThreads}, ptr<int32_t>(s.labels), ptr<float>(s.scale),
           ptr<S>(a.log_scale), R, a.first);
  });
  dispatch_device(a.q.dtype, [&]<class T>() {
    multiply(ctx, ptr<float>(s.logits), Matrix<T>{ptr<T>(a.q), C, 1}, Matrix<T>{ptr<T>(a.k), C, 1}, s.scale, R, N, C,
             false);
    const bool wanted = grads.dq || grads.dk || grads.dlog_scale;
    cross_entropy(ctx, losses, wanted ? s.logits : Tensor{}, s.logits, s.labels, a.weight);
    if (wanted) add_gradients<T>(ctx, s, grads, a);
  });
}

}  // namespace viaduct::ops::cuda

#include "core/ops/cuda/layer_norm.hpp"

#include "core/ops/cuda/row.cuh"

namespace viaduct::ops::cuda {
namespace {

// y may be x: every element is read for the last time before it is written.
template <class T, int n, int kept>
__global__ void normalize(T* y, float* means, float* rstds, const T* x, const T* gamma, const T* beta, int64_t rows,
                          int columns, float eps) {
  const int64_t row = row_of_warp();
  if (row >= rows) return;
  const WarpRow<T, n, kept> from(x + row * columns, columns);
  T* to = y + row * columns;
  float sum = 0, square = 0;
  from.each([&](int, int, const Pack<T, n>& p) {
    for (int i = 0; i < n; ++i) sum += to_float(p.v[i]);
  });
  const float mean = warp_sum(sum) / float(columns);
  from.each([&](int, int, const Pack<T, n>& p) {
    for (int i = 0; i < n; ++i) {
      float centred = to_float(p.v[i]) - mean;
      square += centred * centred;
    }
  });
  const float rstd = 1.0f / sqrtf(warp_sum(square) / float(columns) + eps);
  from.each([&](int, int at, const Pack<T, n>& p) {
    Pack<T, n> scale = load_pack<n>(gamma + at), shift = load_pack<n>(beta + at), out;
    for (int i = 0; i < n; ++i)
      out.v[i] = from_float<T>((to_float(p.v[i]) - mean) * rstd * to_float(scale.v[i]) + to_float(shift.v[i]));
    store_pack(to + at, out);
  });
  if (means && threadIdx.x % kWarp == 0) means[row] = mean, rstds[row] = rstd;
}

template <class T>
struct Backward {
  T* dx;
  const T *dy, *x, *gamma;
  const float *means, *rstds;
  int64_t rows;
  int columns;
  bool accumulate;
};

// One row by a warp; visit(k, i, dy, normalized) is told of every element. dx may be dy.
template <int n, int kept, class T, class Visit>
__device__ __forceinline__ void row_grad(const Backward<T>& b, int64_t row, Visit visit) {
  const int64_t start = row * b.columns;
  const WarpRow<T, n, kept> from(b.x + start, b.columns), grad(b.dy + start, b.columns);
  const float mean = b.means[row], rstd = b.rstds[row];
  float sum = 0, product = 0;
  from.each([&](int k, int at, const Pack<T, n>& p) {
    Pack<T, n> g = grad.pack(k), scale = load_pack<n>(b.gamma + at);
    for (int i = 0; i < n; ++i) {
      float normalized = (to_float(p.v[i]) - mean) * rstd, d = to_float(g.v[i]);
      visit(k, i, d, normalized);
      d *= to_float(scale.v[i]);
      sum += d, product += d * normalized;
    }
  });
  sum = warp_sum(sum) / float(b.columns), product = warp_sum(product) / float(b.columns);
  from.each([&](int k, int at, const Pack<T, n>& p) {
    Pack<T, n> g = grad.pack(k), scale = load_pack<n>(b.gamma + at), out;
    if (b.accumulate) out = load_pack<n>(b.dx + start + at);
    for (int i = 0; i < n; ++i) {
      float normalized = (to_float(p.v[i]) - mean) * rstd;
      float d = (to_float(g.v[i]) * to_float(scale.v[i]) - sum - normalized * product) * rstd;
      out.v[i] = from_float<T>(b.accumulate ? to_float(out.v[i]) + d : d);
    }
    store_pack(b.dx + start + at, out);
  });
}

constexpr int kWarps = 8;  // of a block with a chunk of rows

__device__ __forceinline__ int64_t chunk_begin(int64_t rows, unsigned chunk, unsigned chunks) {
  return rows * chunk / chunks;
}

// A block per chunk: its warps take every eighth row and hold their columns of dgamma and dbeta in registers, which are
// added up in pairs of warps, always the same. partial null: frozen.
template <class T, int n, int kept>
__global__ void __launch_bounds__(kWarps* kWarp, kept* n <= 24 ? 2 : 1)
    chunk_grads(const Backward<T> b, float* partial) {
  constexpr int quad = 4;
  const int warp = int(threadIdx.x) / kWarp;
  const int64_t end = chunk_begin(b.rows, blockIdx.x + 1, gridDim.x);
  float sums[2][kept][n] = {};
  for (int64_t row = chunk_begin(b.rows, blockIdx.x, gridDim.x) + warp; row < end; row += kWarps)
    row_grad<n, kept>(b, row, [&](int k, int i, float dy, float normalized) {
      sums[0][k][i] += dy * normalized, sums[1][k][i] += dy;
    });
  if (!partial) return;
  auto each_quad = [&](float* at, auto f) {  // at [2, columns]; f(address, four of the sums)
#pragma unroll
    for (int which = 0; which < 2; ++which)
#pragma unroll
      for (int k = 0; k < kept; ++k)
#pragma unroll
        for (int i = 0; i < n; i += quad)
          if (int column = WarpRow<T, n, kept>::column(k); column < b.columns)
            f(at + which * b.columns + column + i, &sums[which][k][i]);
  };
  auto put = [](float* at, const float* four) {
    store_pack(at, Pack<float, quad>{four[0], four[1], four[2], four[3]});
  };
  float* shared = dynamic_shared<float>();  // [kWarps / 2, 2, columns]
  for (int half = kWarps / 2; half > 0; half /= 2) {
    if (warp >= half && warp < 2 * half) each_quad(shared + (warp - half) * 2 * b.columns, put);
    __syncthreads();
    if (warp < half)
      each_quad(shared + warp * 2 * b.columns, [](const float* at, float* four) {
        Pack<float, quad> other = load_pack<quad>(at);
        for (int j = 0; j < quad; ++j) four[j] += other.v[j];
      });
    __syncthreads();
  }
  if (warp == 0) each_quad(partial + int64_t(blockIdx.x) * 2 * b.columns, put);
}

// The same for rows that are misaligned or too long for the registers: a thread per column of a chunk, then a warp per
// row, since dx may be dy.
template <class T>
__global__ void chunk_sums(const Backward<T> b, float* partial) {
  const int column = int(blockIdx.x * blockDim.x + threadIdx.x);
  if (column >= b.columns) return;
  float to_gamma = 0, to_beta = 0;
  for (int64_t row = chunk_begin(b.rows, blockIdx.y, gridDim.y); row < chunk_begin(b.rows, blockIdx.y + 1, gridDim.y);
       ++row) {
    float d = to_float(b.dy[row * b.columns + column]), v = to_float(b.x[row * b.columns + column]);
    to_gamma += d * ((v - b.means[row]) * b.rstds[row]), to_beta += d;
  }
  float* to = partial + int64_t(blockIdx.y) * 2 * b.columns;
  to[column] = to_gamma, to[b.columns + column] = to_beta;
}
template <class T>
__global__ void row_grads(const Backward<T> b) {
  if (row_of_warp() < b.rows) row_grad<1, 0>(b, row_of_warp(), [](int, int, float, float) {});
}

// A column per lane: every warp adds up a range of the chunks in order, the first one these sums.
__global__ void __launch_bounds__(kWarp* kWarp)
    add_chunks(float* dgamma, float* dbeta, const float* partial, int chunks, int columns) {
  __shared__ float sums[kWarp][kWarp];
  const int warp = int(threadIdx.x) / kWarp, lane = int(threadIdx.x) % kWarp;
  const int column = int(blockIdx.x) * kWarp + lane;
  float sum = 0;
  if (column < 2 * columns)
    for (int c = chunks * warp / kWarp; c < chunks * (warp + 1) / kWarp; ++c)
      sum += partial[int64_t(c) * 2 * columns + column];
  sums[warp][lane] = sum;
  __syncthreads();
  if (warp > 0 || column >= 2 * columns) return;
  for (int w = 1; w < kWarp; ++w) sum += sums[w][lane];
  (column < columns ? dgamma[column] : dbeta[column - columns]) += sum;
}

// f.template operator()<n, kept>(): packs of how many elements, and how many of a row a lane keeps.
template <class T, class F>
void with_layout(bool packed, int64_t columns, F&& f) {
  constexpr int n = Pack<T>::size;
  if (!packed) return f.template operator()<1, 0>();
  if (columns <= 24 * kWarp) return f.template operator()<n, 24 / n>();
  if (columns <= 32 * kWarp) return f.template operator()<n, 32 / n>();
  f.template operator()<n, 0>();
}

}  // namespace

void layer_norm(Ctx& ctx, Tensor y, NormStats stats, Tensor x, Tensor gamma, Tensor beta, double eps) {
  const int64_t rows = x.shape.rows(), columns = x.shape.last();
  auto *means = ptr<float>(stats.mean), *rstds = ptr<float>(stats.rstd);
  dispatch_device(x.dtype, [&]<class T>() {
    bool packed = true;
    for (const Tensor& t : {y, x, gamma, beta}) packed &= packs(t.data, columns, sizeof(T));
    with_layout<T>(packed, columns, [&]<int n, int kept>() {
      launch(ctx, normalize<T, n, kept>, warp_per_row(rows), ptr<T>(y), means, rstds, ptr<T>(x), ptr<T>(gamma),
             ptr<T>(beta), rows, int(columns), float(eps));
    });
  });
}

void layer_norm_backward(Ctx& ctx, NormGrads grads, Tensor partial, Tensor dy, Tensor x, NormStats stats,
                         Tensor gamma) {
  constexpr unsigned kThreads = 256;
  const int64_t rows = x.shape.rows(), columns = x.shape.last();
  const unsigned chunks = unsigned(norm_chunks(rows));
  float* sums = grads.dgamma ? ptr<float>(partial) : nullptr;
  dispatch_device(x.dtype, [&]<class T>() {
    const Backward<T> b{ptr<T>(grads.dx),       ptr<T>(dy), ptr<T>(x),    ptr<T>(gamma),   ptr<float>(stats.mean),
                        ptr<float>(stats.rstd), rows,       int(columns), grads.accumulate};
    bool packed = true;
    for (const Tensor& t : {grads.dx, dy, x, gamma}) packed &= packs(t.data, columns, sizeof(T));
    with_layout<T>(packed, columns, [&]<int n, int kept>() {
      if constexpr (kept > 0) {
        size_t shared = size_t(kWarps / 2 * 2 * columns) * sizeof(float);
        launch(ctx, chunk_grads<T, n, kept>, {chunks, kWarps * kWarp, shared}, b, sums);
      } else {
        if (sums) launch(ctx, chunk_sums<T>, {dim3(unsigned(ceil_div(columns, kThreads)), chunks), kThreads}, b, sums);
        launch(ctx, row_grads<T>, warp_per_row(rows), b);
      }
    });
  });
  if (sums && rows > 0)
    launch(ctx, add_chunks, {unsigned(ceil_div(2 * columns, kWarp)), kWarp * kWarp}, ptr<float>(grads.dgamma),
           ptr<float>(grads.dbeta), sums, int(chunks), int(columns));
}

}  // namespace viaduct::ops::cuda

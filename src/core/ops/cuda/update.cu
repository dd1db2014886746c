#include "core/ops/cuda/update.hpp"

#include "core/ops/clip_step.hpp"
#include "core/ops/cuda/map.cuh"
#include "core/ops/lerp.hpp"

namespace viaduct::ops::cuda {
namespace {

constexpr int kQuad = 4;  // elements that a thread takes at once

// Where memory is misaligned, or ends, element by element: the same elements for the same thread all the same.
template <bool packed, class T>
__device__ __forceinline__ Pack<T, kQuad> load_quad(const T* at, int64_t count) {
  if (packed && count >= kQuad) return load_pack<kQuad>(at);
  Pack<T, kQuad> p;
  for (int i = 0; i < kQuad; ++i) p.v[i] = i < count ? at[i] : T(0.0f);
  return p;
}
template <bool packed, class T>
__device__ __forceinline__ void store_quad(T* at, const Pack<T, kQuad>& p, int64_t count) {
  if (packed && count >= kQuad) return store_pack(at, p);
  for (int i = 0; i < kQuad; ++i)
    if (i < count) at[i] = p.v[i];
}
template <class T>
bool quads(const T* data) {
  return reinterpret_cast<uintptr_t>(data) % sizeof(Pack<T, kQuad>) == 0;
}

constexpr int kNormThreads = 512;

// A block per chunk.
template <bool packed>
__global__ void __launch_bounds__(kNormThreads) chunk_squares(double* out, const float* x, int64_t n) {
  __shared__ double shared[kWarp];
  const int64_t begin = blockIdx.x * kNormChunk, size = min(kNormChunk, n - begin);
  double sums[kQuad] = {};
#pragma unroll 4
  for (int64_t at = threadIdx.x * kQuad; at < size; at += kNormThreads * kQuad) {
    Pack<float, kQuad> p = load_quad<packed>(x + begin + at, size - at);
    for (int i = 0; i < kQuad; ++i) sums[i] += double(p.v[i]) * double(p.v[i]);
  }
  double sum = block_sum((sums[0] + sums[1]) + (sums[2] + sums[3]), shared);
  if (threadIdx.x == 0) out[blockIdx.x] = sum;
}

constexpr int kSumThreads = 256;

// One thread adds what all of the block have brought.
__global__ void __launch_bounds__(kSumThreads) add_in_order(double* out, const double* sums, int64_t n) {
  __shared__ double tile[kSumThreads];
  double sum = 0;
  for (int64_t begin = 0; begin < n; begin += kSumThreads) {
    const int size = int(min(int64_t(kSumThreads), n - begin));
    if (int(threadIdx.x) < size) tile[threadIdx.x] = sums[begin + threadIdx.x];
    __syncthreads();
    if (threadIdx.x == 0)
      for (int i = 0; i < size; ++i) sum += tile[i];
    __syncthreads();
  }
  if (threadIdx.x == 0) *out = sum;
}

__global__ void set_clip(double* scalars, const double* squared_norm, const double* sums) {
  clip_step(scalars, *squared_norm, sums);
}

struct Update {
  float *master, *m, *v;
  const float* grad;
  const double* scalars;
  double rate, weight_decay;
  float beta2, one_minus_beta1, one_minus_beta2, eps;
  int64_t n;
};

constexpr int kUpdateThreads = 256, kQuadsPerThread = 4;

// value null: the master is the value. The scalars are prepared in double and rounded once, as torch does.
template <bool packed>
__global__ void __launch_bounds__(kUpdateThreads) update(bfloat16* value, const Update u) {
  const double *step = u.scalars, factor = step[step_scalar::grad_scale];
  const double rate = step[step_scalar::learning_rate] * u.rate;
  if (!isfinite(factor)) return;
  const float scale = float(factor), decay = float(1 - rate * u.weight_decay);
  const float root_correction2 = float(step[step_scalar::root_correction2]);
  const float step_size = float(rate / step[step_scalar::correction1]);
  int64_t at = (blockIdx.x * int64_t(kUpdateThreads * kQuadsPerThread) + threadIdx.x) * kQuad;
  for (int k = 0; k < kQuadsPerThread && at < u.n; ++k, at += kUpdateThreads * kQuad) {
    const int64_t count = u.n - at;
    auto p = load_quad<packed>(u.master + at, count), m = load_quad<packed>(u.m + at, count);
    auto v = load_quad<packed>(u.v + at, count), grad = load_quad<packed>(u.grad + at, count);
    Pack<bfloat16, kQuad> rounded;
    for (int i = 0; i < kQuad; ++i) {
      float g = grad.v[i] * scale;
      m.v[i] += u.one_minus_beta1 * (g - m.v[i]);
      v.v[i] = v.v[i] * u.beta2 + u.one_minus_beta2 * g * g;
      p.v[i] = p.v[i] * decay - step_size * m.v[i] / (sqrtf(v.v[i]) / root_correction2 + u.eps);
      rounded.v[i] = __float2bfloat16(p.v[i]);
    }
    store_quad<packed>(u.master + at, p, count);
    store_quad<packed>(u.m + at, m, count);
    store_quad<packed>(u.v + at, v, count);
    if (value) store_quad<packed>(value + at, rounded, count);
  }
}

template <int N>
__global__ void __launch_bounds__(kMapThreads, 4)
    follow(float* average, const float* values, const double* scalars, int64_t n) {
  if (!isfinite(scalars[step_scalar::grad_scale])) return;
  const float weight = float(scalars[step_scalar::average_weight]);
  map<N>(
      n, average, [=](float old, float now) { return lerp(old, now, weight); }, average, values);
}

template <int N>
__global__ void __launch_bounds__(kMapThreads, 4) swap_all(float* a, float* b, int64_t n) {
  for_packs<N>(
      n,
      [=]<int M>(int64_t i, const Pack<float, M>& x, const Pack<float, M>& y) {
        store_pack(a + i, y);
        store_pack(b + i, x);
      },
      a, b);
}

}  // namespace

void squared_norm_chunks(Ctx& ctx, Tensor out, Tensor x) {
  expect(x.dtype == DType::f32, "gradients on cuda are fp32");
  const auto* from = ptr<float>(x);
  launch(ctx, quads(from) ? chunk_squares<true> : chunk_squares<false>, {unsigned(out.numel()), kNormThreads},
         ptr<double>(out), from, x.numel());
}

void sum_in_order(Ctx& ctx, Tensor out, Tensor sums) {
  launch(ctx, add_in_order, {1, kSumThreads}, ptr<double>(out), ptr<double>(sums), sums.numel());
}

void clip(Ctx& ctx, Tensor scalars, Tensor squared_norm, Tensor sums) {
  launch(ctx, set_clip, {1, 1}, ptr<double>(scalars), ptr<double>(squared_norm), ptr<double>(sums));
}

void adamw(Ctx& ctx, const AdamWArgs& a) {
  auto* value = a.value.dtype == DType::bf16 ? ptr<bfloat16>(a.value) : nullptr;
  const Update u{.master = ptr<float>(a.master),
                 .m = ptr<float>(a.m),
                 .v = ptr<float>(a.v),
                 .grad = ptr<float>(a.grad),
                 .scalars = ptr<double>(a.scalars),
                 .rate = a.rate,
                 .weight_decay = a.weight_decay,
                 .beta2 = float(a.beta2),
                 .one_minus_beta1 = float(1 - a.beta1),
                 .one_minus_beta2 = float(1 - a.beta2),
                 .eps = float(a.eps),
                 .n = a.value.numel()};
  const bool packed = quads(u.master) && quads(u.m) && quads(u.v) && quads(u.grad) && quads(value);
  constexpr int64_t kPerBlock = kUpdateThreads * kQuadsPerThread * kQuad;
  launch(ctx, packed ? update<true> : update<false>, {unsigned(ceil_div(u.n, kPerBlock)), kUpdateThreads}, value, u);
}

void moving_average(Ctx& ctx, Tensor average, Tensor values, Tensor scalars) {
  const auto* from = ptr<float>(values);
  auto* to = ptr<float>(average);
  const bool packed = quads(from) && quads(to);
  launch(ctx, packed ? follow<kQuad> : follow<1>, map_launch<2>(ceil_div(average.numel(), packed ? kQuad : 1)), to,
         from, ptr<double>(scalars), average.numel());
}

void exchange(Ctx& ctx, Tensor a, Tensor b) {
  float *x = ptr<float>(a), *y = ptr<float>(b);
  const bool packed = quads(x) && quads(y);
  launch(ctx, packed ? swap_all<kQuad> : swap_all<1>, map_launch<2>(ceil_div(a.numel(), packed ? kQuad : 1)), x, y,
         a.numel());
}

}  // namespace viaduct::ops::cuda

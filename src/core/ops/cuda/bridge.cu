#include "core/ops/cuda/bridge.hpp"

#include "core/ops/cuda/map.cuh"

namespace viaduct::ops::cuda {
namespace {

constexpr int64_t kSumBlocks = 512;  // at most, of the sum for the scalar's gradient: all are resident at once

// y = of_h h + of_c c
struct Weights {
  float of_h, of_c;
};
template <class T>
__device__ Weights weights(const T* s, Bridge kind) {
  if (kind == Bridge::add) return {1.0f, 1.0f};
  float scalar = to_float(*s);
  return kind == Bridge::interpolate ? Weights{1.0f - scalar, scalar} : Weights{scalar, 1.0f};
}

template <int N, class T>
__global__ void __launch_bounds__(kMapThreads)
    bridge_kernel(T* y, const T* h, const T* c, const T* s, Bridge kind, int64_t n) {
  Weights w = weights(s, kind);
  map<N>(
      n, y, [=](float u, float v) { return w.of_h * u + w.of_c * v; }, h, c);
}

// The derivative of y by the scalar, from what it needs: h, or h and c.
__device__ float slope() { return 0; }
__device__ float slope(float h) { return h; }
__device__ float slope(float h, float c) { return c - h; }

// `learned` holds what the derivative by the scalar needs: nothing where the scalar learns nothing. A block's sum is
// that of its threads, whose elements are fixed by n.
template <int N, class T, class... Learned>
__global__ void __launch_bounds__(kMapThreads)
    bridge_backward_kernel(T* dh, T* dc, float* partial, const T* s, Bridge kind, int64_t n, const T* dy,
                           const Learned*... learned) {
  __shared__ float shared[kWarp];
  Weights w = weights(s, kind);
  float sum = 0;
  for_packs<N>(
      n,
      [&]<int M>(int64_t i, const Pack<T, M>& d, const auto&... x) {
        Pack<T, M> of_h, of_c;
#pragma unroll
        for (int k = 0; k < M; ++k) {
          float g = to_float(d.v[k]);
          sum += g * slope(to_float(x.v[k])...);
          of_h.v[k] = from_float<T>(w.of_h * g), of_c.v[k] = from_float<T>(w.of_c * g);
        }
        if (dh) store_pack(dh + i, of_h);
        if (dc) store_pack(dc + i, of_c);
      },
      dy, learned...);
  if constexpr (sizeof...(Learned) > 0) {
    sum = block_sum(sum, shared);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
  }
}

// *ds += the sum of the partial sums.
__global__ void __launch_bounds__(kMapThreads) add_partial_sums_kernel(float* ds, const float* partial, int64_t n) {
  __shared__ float shared[kWarp];
  float sum = 0;
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) sum += partial[i];
  sum = block_sum(sum, shared);
  if (threadIdx.x == 0) *ds += sum;
}

}  // namespace

void bridge(Ctx& ctx, Tensor y, Tensor h, Tensor c, Tensor s, Bridge kind) {
  int64_t n = y.numel();
  dispatch_device(y.dtype, [&]<class T>() {
    with_width<T>({y.data, h.data, c.data}, 0, [&]<int N>() {
      launch(ctx, bridge_kernel<N, T>, map_launch<2>(ceil_div(n, N)), ptr<T>(y), ptr<T>(h), ptr<T>(c), ptr<T>(s), kind,
             n);
    });
  });
}

int64_t bridge_blocks(int64_t elements) { return std::min(ceil_div(elements, kMapThreads * 8), kSumBlocks); }

void bridge_backward(Ctx& ctx, const BridgeGrads& grads, Tensor partial, Tensor dy, Tensor h, Tensor c, Tensor s,
                     Bridge kind) {
  int64_t n = dy.numel(), blocks = partial.numel();
  bool learned = kind != Bridge::add && grads.ds;
  dispatch_device(dy.dtype, [&]<class T>() {
    with_width<T>({grads.dh.data, grads.dc.data, dy.data, h.data, c.data}, 0, [&]<int N>() {
      Launch l{unsigned(blocks), kMapThreads};
      auto run = [&](auto kernel, auto... by_scalar) {
        launch(ctx, kernel, l, ptr<T>(grads.dh), ptr<T>(grads.dc), ptr<float>(partial), ptr<T>(s), kind, n, ptr<T>(dy),
               by_scalar...);
      };
      if (!learned) return run(bridge_backward_kernel<N, T>);
      if (kind == Bridge::scaled_add) return run(bridge_backward_kernel<N, T, T>, ptr<T>(h));
      run(bridge_backward_kernel<N, T, T, T>, ptr<T>(h), ptr<T>(c));
    });
  });
  if (learned && blocks > 0)
    launch(ctx, add_partial_sums_kernel, {1, kMapThreads}, ptr<float>(grads.ds), ptr<float>(partial), blocks);
}

}  // namespace viaduct::ops::cuda

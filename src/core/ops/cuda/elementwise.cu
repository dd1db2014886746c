#include "core/ops/cuda/elementwise.hpp"

#include "core/base/philox.hpp"
#include "core/device/cuda/runtime.hpp"
#include "core/ops/cuda/activation.cuh"
#include "core/ops/cuda/map.cuh"

namespace viaduct::ops::cuda {
namespace {

template <int N, Activation A, class T>
__global__ void __launch_bounds__(kMapThreads, 4) activation_kernel(T* y, const T* x, int64_t n) {
  map<N>(
      n, y, [](float v) { return activate<A>(v); }, x);
}

template <int N, Activation A, class T>
__global__ void __launch_bounds__(kMapThreads, 4)
    activation_backward_kernel(T* dx, const T* dy, const T* x, int64_t n) {
  map<N>(
      n, dx, [](float g, float v) { return g * activate_slope<A>(v); }, dy, x);
}

template <int N, class T>
__global__ void __launch_bounds__(kMapThreads, 4) add_kernel(T* y, const T* a, const T* b, int64_t n) {
  map<N>(
      n, y, [](float u, float v) { return u + v; }, a, b);
}

template <int N, class To, class From>
__global__ void __launch_bounds__(kMapThreads, 4) convert_kernel(To* y, const From* x, int64_t n) {
  map<N>(
      n, y, [](float v) { return v; }, x);
}

template <int N, class T>
__global__ void __launch_bounds__(kMapThreads, 4) fill_kernel(T* y, float value, int64_t n) {
  map<N>(n, y, [=]() { return value; });
}

struct Mask {
  uint64_t op;             // the high half of Philox's counter
  uint32_t dropped_below;  // random bits
  float keep;              // 1 / (1 - p)
};

// A sample's elements; its words are drawn by fours where a pack begins with the first of them.
template <int N, class T>
__global__ void __launch_bounds__(kMapThreads, 4)
    dropout_kernel(T* y, const T* x, const int64_t* keys, Mask mask, int64_t samples, int64_t size) {
  for (int64_t sample = blockIdx.y; sample < samples; sample += gridDim.y) {
    uint64_t key = uint64_t(keys[sample]);
    T* to = y + sample * size;
    auto drop = [=]<int M>(int64_t i, const auto& in) {
      Pack<T, M> out;
      Philox words{};
#pragma unroll
      for (int k = 0; k < M; ++k) {
        if (k % 4 == 0) words = philox(key, uint64_t((i + k) / 4), mask.op);
        uint32_t bits = words.v[k % 4];
        if constexpr (M == 1) {
          bits = i % 4 == 1 ? words.v[1] : bits;
          bits = i % 4 == 2 ? words.v[2] : bits;
          bits = i % 4 == 3 ? words.v[3] : bits;
        }
        out.v[k] = from_float<T>(to_float(in.v[k]) * (bits < mask.dropped_below ? 0.0f : mask.keep));
      }
      store_pack(to + i, out);
    };
    for_packs<N>(size, drop, x + sample * size);
  }
}

}  // namespace

void activation(Ctx& ctx, Tensor y, Tensor x, Activation a) {
  int64_t n = y.numel();
  dispatch_device(y.dtype, [&]<class T>() {
    with_width<T>({y.data, x.data}, 0, [&]<int N>() {
      with_activation(a, [&]<Activation A>() {
        launch(ctx, activation_kernel<N, A, T>, map_launch<1>(ceil_div(n, N)), ptr<T>(y), ptr<T>(x), n);
      });
    });
  });
}

void activation_backward(Ctx& ctx, Tensor dx, Tensor dy, Tensor x, Activation a) {
  int64_t n = dx.numel();
  dispatch_device(dx.dtype, [&]<class T>() {
    with_width<T>({dx.data, dy.data, x.data}, 0, [&]<int N>() {
      with_activation(a, [&]<Activation A>() {
        launch(ctx, activation_backward_kernel<N, A, T>, map_launch<2>(ceil_div(n, N)), ptr<T>(dx), ptr<T>(dy),
               ptr<T>(x), n);
      });
    });
  });
}

void add(Ctx& ctx, Tensor y, Tensor a, Tensor b) {
  int64_t n = y.numel();
  dispatch_device(y.dtype, [&]<class T>() {
    with_width<T>({y.data, a.data, b.data}, 0, [&]<int N>() {
      launch(ctx, add_kernel<N, T>, map_launch<2>(ceil_div(n, N)), ptr<T>(y), ptr<T>(a), ptr<T>(b), n);
    });
  });
}

void copy(Ctx& ctx, Tensor y, Tensor x) {
  if (y.dtype == x.dtype) return viaduct::cuda::copy(y.data, x.data, y.bytes(), ctx.stream.native());
  int64_t n = y.numel();
  dispatch_device(y.dtype, [&]<class To>() {
    dispatch_device(x.dtype, [&]<class From>() {
      with_width<To, From>({y.data, x.data}, 0, [&]<int N>() {
        launch(ctx, convert_kernel<N, To, From>, map_launch<1>(ceil_div(n, N)), ptr<To>(y), ptr<From>(x), n);
      });
    });
  });
}

void fill(Ctx& ctx, Tensor y, double value) {
  int64_t n = y.numel();
  dispatch_device(y.dtype, [&]<class T>() {
    with_width<T>({y.data}, 0, [&]<int N>() {
      launch(ctx, fill_kernel<N, T>, map_launch<0>(ceil_div(n, N)), ptr<T>(y), float(value), n);
    });
  });
}

void dropout(Ctx& ctx, Tensor y, Tensor x, DropoutOptions o) {
  if (x.numel() == 0) return;
  int64_t samples = x.shape[0], size = x.numel() / samples;
  Mask mask{uint64_t(Draw::dropout) << 32 | o.op, dropped_below(o.p), 1.0f / (1.0f - o.p)};
  dispatch_device(y.dtype, [&]<class T>() {
    with_width<T>({y.data, x.data}, size, [&]<int N>() {
      Launch l = map_launch<1>(ceil_div(size, N));
      l.grid.y = unsigned(std::min<int64_t>(samples, 65535));
      launch(ctx, dropout_kernel<N, T>, l, ptr<T>(y), ptr<T>(x), ptr<int64_t>(ctx.sample_keys), mask, samples, size);
    });
  });
}

}  // namespace viaduct::ops::cuda

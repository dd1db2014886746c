#include "core/ops/cpu/elementwise.hpp"

#include <cstring>

#include "core/ops/cpu/activation_math.hpp"
#include "core/ops/cpu/dropout_mask.hpp"
#include "core/ops/cpu/parallel.hpp"

namespace viaduct::ops::cpu {
namespace {

// y[i] = f(inputs[i]...), computed in compute_t<T>; y may be one of the inputs.
template <class T, class F, class... Inputs>
void map(Tensor y, F f, Inputs... inputs) {
  T* to = data<T>(y);
  parallel_blocks(y.numel(), kBlock, [=](Range r) {
#pragma omp simd
    for (int64_t i = r.begin; i < r.end; ++i) to[i] = f(compute_t<T>(inputs[i])...);
  });
}

template <class To, class From>
void convert(To* to, const From* from, int64_t n) {
  parallel_blocks(n, kBlock, [=](Range r) {
#pragma omp simd
    for (int64_t i = r.begin; i < r.end; ++i) to[i] = compute_t<To>(compute_t<From>(from[i]));
  });
}

}  // namespace

void activation(Tensor y, Tensor x, Activation a) {
  dispatch(y.dtype, [&]<class T>() {
    with_activation(a, [&]<Activation A>() {
      map<T>(
          y, [](auto v) { return activate<A>(v); }, data<T>(x));
    });
  });
}

void activation_backward(Tensor dx, Tensor dy, Tensor x, Activation a) {
  dispatch(dx.dtype, [&]<class T>() {
    with_activation(a, [&]<Activation A>() {
      map<T>(
          dx, [](auto g, auto v) { return g * activate_slope<A>(v); }, data<T>(dy), data<T>(x));
    });
  });
}

void add(Tensor y, Tensor a, Tensor b) {
  dispatch(y.dtype, [&]<class T>() {
    map<T>(
        y, [](auto u, auto v) { return u + v; }, data<T>(a), data<T>(b));
  });
}

void copy(Tensor y, Tensor x) {
  if (y.dtype == x.dtype) {
    parallel_blocks(y.bytes(), 4 * kBlock, [&](Range r) {
      std::memmove(static_cast<std::byte*>(y.data) + r.begin, static_cast<const std::byte*>(x.data) + r.begin,
                   size_t(r.size()));
    });
    return;
  }
  dispatch(y.dtype, [&]<class To>() {
    dispatch(x.dtype, [&]<class From>() { convert(data<To>(y), data<From>(x), y.numel()); });
  });
}

void fill(Tensor y, double value) {
  dispatch(y.dtype, [&]<class T>() { map<T>(y, [c = compute_t<T>(value)]() { return c; }); });
}

void dropout(Tensor y, Tensor x, Tensor sample_keys, DropoutOptions options) {
  constexpr int64_t kTile = 1024;
  int64_t samples = x.shape[0], size = x.numel() / samples, tiles = ceil_div(size, kTile);
  dispatch(y.dtype, [&]<class T>() {
    using C = compute_t<T>;
    T* to = data<T>(y);
    const T* from = data<T>(x);
    const int64_t* keys = data<int64_t>(sample_keys);
    parallel_rows(samples * tiles, kTile, [=](int64_t tile) {
      int64_t sample = tile / tiles, first = tile % tiles * kTile, count = std::min(kTile, size - first);
      C mask[kTile];
      dropout_mask(mask, uint64_t(keys[sample]), options.op, first, count, options.p);
      T* out = to + sample * size + first;
      const T* in = from + sample * size + first;
#pragma omp simd
      for (int64_t i = 0; i < count; ++i) out[i] = C(in[i]) * mask[i];
    });
  });
}

}  // namespace viaduct::ops::cpu

#include "core/ops/cpu/bridge.hpp"

#include "core/ops/cpu/parallel.hpp"

namespace viaduct::ops::cpu {
namespace {

// y = of_h h + of_c c
template <class C>
struct Weights {
  C of_h = 1, of_c = 1;
};

template <class T, class C = compute_t<T>>
Weights<C> weights(const Tensor& s, Bridge kind) {
  C scalar = kind == Bridge::add ? C(1) : C(*data<T>(s));
  if (kind == Bridge::interpolate) return {C(1) - scalar, scalar};
  return {scalar, 1};
}

template <class T, class C = compute_t<T>>
void scaled(T* to, const T* from, C factor, Range r) {
#pragma omp simd
  for (int64_t i = r.begin; i < r.end; ++i) to[i] = factor * C(from[i]);
}

// The sum of dy times the derivative of y by the scalar: h, or c - h.
template <class T, class C = compute_t<T>>
C slope(const T* dy, const T* h, const T* c, bool interpolate, Range r) {
  C sum = 0;
  if (interpolate) {
#pragma omp simd reduction(+ : sum)
    for (int64_t i = r.begin; i < r.end; ++i) sum += C(dy[i]) * (C(c[i]) - C(h[i]));
  } else {
#pragma omp simd reduction(+ : sum)
    for (int64_t i = r.begin; i < r.end; ++i) sum += C(dy[i]) * C(h[i]);
  }
  return sum;
}

}  // namespace

void bridge(Tensor y, Tensor h, Tensor c, Tensor s, Bridge kind) {
  dispatch(y.dtype, [&]<class T>() {
    using C = compute_t<T>;
    auto [of_h, of_c] = weights<T>(s, kind);
    T* to = data<T>(y);
    const T *a = data<T>(h), *b = data<T>(c);
    parallel_blocks(y.numel(), kBlock, [=, of_h = of_h, of_c = of_c](Range r) {
#pragma omp simd
      for (int64_t i = r.begin; i < r.end; ++i) to[i] = of_h * C(a[i]) + of_c * C(b[i]);
    });
  });
}

int64_t bridge_blocks(int64_t elements) { return ceil_div(elements, kBlock); }

void bridge_backward(const BridgeGrads& grads, Tensor partial, Tensor dy, Tensor h, Tensor c, Tensor s, Bridge kind) {
  dispatch(dy.dtype, [&]<class T>() {
    using C = compute_t<T>;
    auto [of_h, of_c] = weights<T>(s, kind);
    T *dh = grads.dh ? data<T>(grads.dh) : nullptr, *dc = grads.dc ? data<T>(grads.dc) : nullptr;
    const T *from = data<T>(dy), *a = data<T>(h), *b = data<T>(c);
    C* sums = data<C>(partial);
    bool learned = kind != Bridge::add && grads.ds;
    parallel_blocks(dy.numel(), kBlock, [=, of_h = of_h, of_c = of_c](Range r) {
      if (learned) sums[r.begin / kBlock] = slope(from, a, b, kind == Bridge::interpolate, r);
      if (dh == from) {  // dy is overwritten last
        if (dc) scaled(dc, from, of_c, r);
        return scaled(dh, from, of_h, r);
      }
      if (dh) scaled(dh, from, of_h, r);
      if (dc) scaled(dc, from, of_c, r);
    });
    for (int64_t i = 0; learned && i < partial.numel(); ++i) *data<C>(grads.ds) += sums[i];
  });
}

}  // namespace viaduct::ops::cpu

// The activation functions and their derivatives, for one element; T is float or double. A loop over them vectorises.
#pragma once
#include "core/ops/cpu/vector_math.hpp"
#include "core/ops/elementwise.hpp"

namespace viaduct::ops::cpu {

template <Activation A, class T>
inline T activate(T x) {
  if constexpr (A == Activation::gelu) return x * normal(x).cdf;
  if constexpr (A == Activation::gelu_tanh)
    return T(0.5) * x * (T(1) + tanh(T(0.79788456080286536) * (x + T(0.044715) * x * x * x)));
  if constexpr (A == Activation::quick_gelu) return x * sigmoid(T(1.702) * x);
  if constexpr (A == Activation::relu) return x < T(0) ? T(0) : x;
  if constexpr (A == Activation::tanh) return tanh(x);
  if constexpr (A == Activation::none) return x;
}

// d activate(x) / dx.
template <Activation A, class T>
inline T activate_slope(T x) {
  if constexpr (A == Activation::gelu) {
    Normal<T> n = normal(x);
    return n.cdf + x * n.density;
  }
  if constexpr (A == Activation::gelu_tanh) {
    T t = tanh(T(0.79788456080286536) * (x + T(0.044715) * x * x * x));
    T inner = T(0.79788456080286536) * (T(1) + T(3 * 0.044715) * x * x);
    return T(0.5) * (T(1) + t) + T(0.5) * x * (T(1) - t * t) * inner;
  }
  if constexpr (A == Activation::quick_gelu) {
    T s = sigmoid(T(1.702) * x);
    return s + T(1.702) * x * s * (T(1) - s);
  }
  if constexpr (A == Activation::relu) return x > T(0) ? T(1) : T(0);
  if constexpr (A == Activation::tanh) {
    T t = tanh(x);
    return T(1) - t * t;
  }
  if constexpr (A == Activation::none) return T(1);
}

}  // namespace viaduct::ops::cpu

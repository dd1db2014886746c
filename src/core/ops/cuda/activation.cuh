// The activation functions and their derivatives for one element, in fp32. NaN comes out as NaN.
#pragma once
#include "core/ops/cuda/kernel.cuh"
#include "core/ops/elementwise.hpp"

namespace viaduct::ops::cuda {

__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }
// With its derivative, which s (1 - s) would give too few digits of near s = 1.
struct Sigmoid {
  float value, slope;
};
__device__ __forceinline__ Sigmoid sigmoid_and_slope(float x) {
  float e = expf(-fabsf(x)), r = 1.0f / (1.0f + e);
  return {x < 0.0f ? e * r : r, e * r * r};
}
__device__ __forceinline__ float normal_cdf(float x) { return 0.5f + 0.5f * erff(x * 0.707106781f); }
// gelu_tanh is x sigmoid(2 u): (1 + tanh u) / 2 = sigmoid(2 u).
__device__ __forceinline__ float twice_gelu_tanh_inner(float x) { return 1.59576912f * x * (1.0f + 0.044715f * x * x); }

template <Activation A>
__device__ __forceinline__ float activate(float x) {
  if constexpr (A == Activation::gelu) return x * normal_cdf(x);
  if constexpr (A == Activation::gelu_tanh) return x * sigmoid(twice_gelu_tanh_inner(x));
  if constexpr (A == Activation::quick_gelu) return x * sigmoid(1.702f * x);
  if constexpr (A == Activation::relu) return x < 0.0f ? 0.0f : x;
  if constexpr (A == Activation::tanh) return tanhf(x);
  if constexpr (A == Activation::none) return x;
}

// d activate(x) / dx.
template <Activation A>
__device__ __forceinline__ float activate_slope(float x) {
  if constexpr (A == Activation::gelu) return normal_cdf(x) + x * 0.398942280f * expf(-0.5f * x * x);
  if constexpr (A == Activation::gelu_tanh) {
    Sigmoid s = sigmoid_and_slope(twice_gelu_tanh_inner(x));
    return s.value + x * s.slope * 1.59576912f * (1.0f + 3 * 0.044715f * x * x);
  }
  if constexpr (A == Activation::quick_gelu) {
    Sigmoid s = sigmoid_and_slope(1.702f * x);
    return s.value + 1.702f * x * s.slope;
  }
  if constexpr (A == Activation::relu) return x > 0.0f ? 1.0f : 0.0f;
  if constexpr (A == Activation::tanh) {
    float t = tanhf(x);
    return 1.0f - t * t;
  }
  if constexpr (A == Activation::none) return 1.0f;
}

}  // namespace viaduct::ops::cuda

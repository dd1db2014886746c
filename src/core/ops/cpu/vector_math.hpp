// exp, tanh and friends in a form that the compiler turns into vector code inside an `omp simd` loop: no calls, no
// branches. The float versions are our own polynomials; the double ones are the library's (gradient checks only).
// NaN comes out as NaN.
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>

#include "core/ops/cpu/vector.hpp"

namespace viaduct::ops::cpu {

// 2^n 2^f by bits: n rounded to nearest, e^r by a polynomial on |r| <= ln(2)/2; error 1.2 ulp, 1 with fused
// multiply-add. Exactly 0 below -87.3, infinite above 88.3.
inline float exp(float x) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it leaves the rounded integer in the low bits
  float t = x * 1.44269504f + kRound;
  float n = t - kRound;
  float r = x - n * 0.693145752f - n * 1.42860677e-6f;  // ln 2 in two parts
  float p = 1.37805939e-3f;
  p = p * r + 8.37312452e-3f;
  p = p * r + 4.16695364e-2f;
  p = p * r + 1.66664720e-1f;
  p = p * r + 4.99999851e-1f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  float scaled = std::bit_cast<float>(std::bit_cast<uint32_t>(p) + (std::bit_cast<uint32_t>(t) << 23));
  scaled = x < -87.3f ? 0.0f : scaled;
  scaled = x > 88.3f ? INFINITY : scaled;
  return x == x ? scaled : x;
}
inline double exp(double x) { return std::exp(x); }

// The same for a vector of numbers that are not above 88.
inline Vec<float> exp(Vec<float> x) {
  constexpr float kRound = 12582912.0f;
  Vec<float> t = x * 1.44269504f + kRound, n = t - kRound;
  Vec<float> r = x - n * 0.693145752f - n * 1.42860677e-6f, p = Vec<float>{} + 1.37805939e-3f;
  p = p * r + 8.37312452e-3f;
  p = p * r + 4.16695364e-2f;
  p = p * r + 1.66664720e-1f;
  p = p * r + 4.99999851e-1f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  Vec<int32_t> bits = std::bit_cast<Vec<int32_t>>(p) + (std::bit_cast<Vec<int32_t>>(t) << 23);
  bits = x < -87.3f ? Vec<int32_t>{} : bits;
  return x == x ? std::bit_cast<Vec<float>>(bits) : x;
}
inline Vec<double> exp(Vec<double> x) {
  for (int i = 0; i < kWidth<double>; ++i) x[i] = std::exp(x[i]);
  return x;
}

inline float tanh(float x) {
  float a = std::fabs(x), s = x * x;
  float tail = std::copysign(1.0f - 2.0f / (exp(2.0f * a) + 1.0f), x);
  float p = 1.57394409e-2f;
  p = p * s - 5.23025580e-2f;
  p = p * s + 1.33152977e-1f;
  p = p * s - 3.33327681e-1f;
  float middle = p * s * x + x;
  return a > 0.55f ? tail : middle;
}
inline double tanh(double x) { return std::tanh(x); }

// The standard normal distribution: P(X < x) and its density at x.
template <class T>
struct Normal {
  T cdf, density;
};
// The tail is exp(-x^2 / 2) times a polynomial in 1 / (1 + p |x|), the form of Abramowitz & Stegun 7.1.26, fitted anew
// (minimax by Lawson's iteration) to 2e-8.
inline Normal<float> normal(float x) {
  float e = exp(-0.5f * x * x), t = 1.0f / (1.0f + 0.388908730f * std::fabs(x));
  float p = 0.107324064f;
  p = p * t - 0.518036723f;
  p = p * t + 0.759712160f;
  p = p * t - 0.0414245203f;
  p = p * t + 0.390841514f;
  p = p * t + 0.301583529f;
  float tail = 0.5f * e * t * p;
  return {x > 0.0f ? 1.0f - tail : tail, 0.398942280f * e};
}
inline Normal<double> normal(double x) {
  return {0.5 * (1 + std::erf(x * 0.70710678118654752)), 0.39894228040143268 * std::exp(-0.5 * x * x)};
}

template <class T>
inline T sigmoid(T x) {
  return T(1) / (T(1) + exp(-x));
}

}  // namespace viaduct::ops::cpu

// exp, erf, tanh and friends in a form that the compiler turns into vector code inside an `omp simd` loop: no calls, no
// branches. The float versions are our own polynomials; the double ones are the library's (gradient checks only).
// NaN comes out as NaN.
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>

namespace viaduct::ops::cpu {

// 2^n 2^f by bits: n rounded to nearest, e^r by a polynomial on |r| <= ln(2)/2; error 1 ulp. Exactly 0 below -87.3,
// infinite above 88.3.
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
  float scaled = std::bit_cast<float>(std::bit_cast<int32_t>(p) + (std::bit_cast<int32_t>(t) << 23));
  scaled = x < -87.3f ? 0.0f : scaled;
  scaled = x > 88.3f ? INFINITY : scaled;
  return x == x ? scaled : x;
}
inline double exp(double x) { return std::exp(x); }

// Two polynomials, one for the middle and one in the exponent of the tails; error 1 ulp.
inline float erf(float x) {
  float a = std::fabs(x), s = x * x;
  float q = (-1.72853470e-5f * a + 3.83197126e-4f) * s + (-3.88396438e-3f * a + 2.42546219e-2f);
  q = q * a - 1.06777877e-1f;
  q = q * a - 6.34846687e-1f;
  q = q * a - 1.28717512e-1f;
  q = q * a - a;
  float tail = std::copysign(1.0f - exp(q), x);
  float p = -5.96761703e-4f;
  p = p * s + 4.99119423e-3f;
  p = p * s - 2.67681349e-2f;
  p = p * s + 1.12819925e-1f;
  p = p * s - 3.76125336e-1f;
  p = p * s + 1.28379166e-1f;
  float middle = p * x + x;
  return a > 0.927734375f ? tail : middle;
}
inline double erf(double x) { return std::erf(x); }

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

template <class T>
inline T sigmoid(T x) {
  return T(1) / (T(1) + exp(-x));
}

}  // namespace viaduct::ops::cpu

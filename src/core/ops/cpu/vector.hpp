// Vectors of one register, spelt out where a plain loop would leave a sum in one register (each addition waiting for the
// last) or its order to the compiler. They are the compiler's own vector type; of a wider one than a register g++ 12
// takes comparisons and shuffles apart, element by element.
#pragma once
#include <bit>
#include <cstring>
#include <type_traits>

#include "core/tensor/dtype.hpp"

namespace viaduct::ops::cpu {

#ifdef __AVX512F__
inline constexpr int kVectorBytes = 64;
#else
inline constexpr int kVectorBytes = 32;
#endif
template <class C>
inline constexpr int kWidth = kVectorBytes / int(sizeof(C));
template <class C>
using Vec __attribute__((vector_size(kVectorBytes))) = C;
template <class C>
using Full = std::integral_constant<int, kWidth<C>>;

// f(i, n) for the vectors of [0, count): n is Full<C>, or an int for the elements that rest.
template <class C, class F>
inline void for_vectors(int64_t count, F f) {
  int64_t i = 0;
  for (; i + kWidth<C> <= count; i += kWidth<C>) f(i, Full<C>{});
  if (i < count) f(i, int(count - i));
}

// n elements in compute_t<T>, then zeros.
template <class T, class N, class C = compute_t<T>>
inline Vec<C> load(const T* p, N n) {
  if constexpr (!std::is_same_v<N, Full<C>>) {
    T padded[kWidth<C>]{};
    std::memcpy(static_cast<void*>(padded), p, size_t(n) * sizeof(T));
    return load(padded, Full<C>{});
  } else if constexpr (std::is_same_v<T, bf16>) {
    using Halves __attribute__((vector_size(kVectorBytes / 2))) = uint16_t;
    Halves halves;
    std::memcpy(&halves, p, sizeof halves);
    return std::bit_cast<Vec<float>>(__builtin_convertvector(halves, Vec<uint32_t>) << 16);
  } else {
    Vec<C> v;
    std::memcpy(&v, p, sizeof v);
    return v;
  }
}

// The first n elements, rounded to T.
template <class T, class N>
inline void store(T* p, Vec<compute_t<T>> v, N n) {
  size_t bytes = size_t(n) * sizeof(T);
  if constexpr (std::is_same_v<T, bf16>) {  // as bf16(float) does
    using Halves __attribute__((vector_size(kVectorBytes / 2))) = uint16_t;
    Vec<uint32_t> u = std::bit_cast<Vec<uint32_t>>(v);
    Vec<uint32_t> rounded = (u + 0x7fff + ((u >> 16) & 1)) >> 16, nan = (u >> 16) | 0x40;
    Halves halves = __builtin_convertvector((u & 0x7fffffff) > 0x7f800000 ? nan : rounded, Halves);
    std::memcpy(static_cast<void*>(p), &halves, bytes);
  } else {
    std::memcpy(p, &v, bytes);
  }
}

// v with zeros from element n on.
template <class C, class N>
inline Vec<C> first(Vec<C> v, N n) {
  if constexpr (!std::is_same_v<N, Full<C>>)
    for (int i = n; i < kWidth<C>; ++i) v[i] = 0;
  return v;
}

// The sum of the elements, pairwise.
template <class C>
inline C total(Vec<C> v) {
  C lanes[kWidth<C>];
  std::memcpy(lanes, &v, sizeof v);
  for (int half = kWidth<C> / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  return lanes[0];
}

}  // namespace viaduct::ops::cpu

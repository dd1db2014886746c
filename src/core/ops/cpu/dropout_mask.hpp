// The mask of dropout: element i of a sample is dropped by word i % 4 of Philox(sample key, i / 4, (Draw::dropout,
// op)).
#pragma once
#ifdef __AVX512F__
#include <immintrin.h>
#endif

#include <algorithm>

#include "core/base/philox.hpp"
#include "core/ops/cpu/vector.hpp"
#include "core/ops/elementwise.hpp"

namespace viaduct::ops::cpu {

using Words = Vec<uint64_t>;  // 32-bit numbers in the low halves; the high halves hold anything

inline Words product_of_low_halves(Words a, uint32_t b) {
#ifdef __AVX512F__  // g++ 12 takes three instructions for it
  return std::bit_cast<Words>(_mm512_maskz_mul_epu32(0xff, std::bit_cast<__m512i>(a), _mm512_set1_epi64(b)));
#else
  return (a & 0xffffffff) * b;
#endif
}

// The high halves: by a shuffle, because shifts compete with products for the same port.
inline Words high_halves(Words a) {
  auto v = std::bit_cast<Vec<uint32_t>>(a);
  return std::bit_cast<Words>(__builtin_shufflevector(v, v, 1, 1, 3, 3, 5, 5, 7, 7, 9, 9, 11, 11, 13, 13, 15, 15));
}

// bits[4 i + w] = philox(key, counter + i, high).v[w] for eight calls side by side.
inline void philox_words(uint32_t bits[32], uint64_t key, uint64_t counter, uint64_t high) {
  Words call = {0, 1, 2, 3, 4, 5, 6, 7};
  call += counter;
  Words c0 = call, c1 = call >> 32, c2 = Words{} + high, c3 = Words{} + (high >> 32);
  uint32_t k0 = uint32_t(key), k1 = uint32_t(key >> 32);
  for (int round = 0; round < 10; ++round) {
    Words p0 = product_of_low_halves(c0, 0xD2511F53u), p1 = product_of_low_halves(c2, 0xCD9E8D57u);
    c0 = high_halves(p1) ^ c1 ^ k0, c2 = high_halves(p0) ^ c3 ^ k1, c1 = p1, c3 = p0;
    k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
  }
  Words low = (c0 & 0xffffffff) | c1 << 32, upper = (c2 & 0xffffffff) | c3 << 32;
  Words first = __builtin_shufflevector(low, upper, 0, 8, 1, 9, 2, 10, 3, 11);
  Words second = __builtin_shufflevector(low, upper, 4, 12, 5, 13, 6, 14, 7, 15);
  std::memcpy(bits, &first, sizeof first);
  std::memcpy(bits + 16, &second, sizeof second);
}

// mask[i] = 0 or 1 / (1 - p) for elements first + i of a sample, i < count.
template <class T>
void dropout_mask(T* mask, uint64_t sample_key, uint32_t op, int64_t first, int64_t count, float p) {
  constexpr int64_t kTile = 32;
  const T keep = T(1) / (T(1) - T(p));
  const uint32_t dropped = dropped_below(p);
  for (int64_t at = first - first % 4; at < first + count; at += kTile) {
    uint32_t bits[kTile];
    philox_words(bits, sample_key, uint64_t(at / 4), uint64_t(Draw::dropout) << 32 | op);
    auto make = [&](T* tile) {
#pragma omp simd
      for (int64_t i = 0; i < kTile; ++i) tile[i] = bits[i] < dropped ? T(0) : keep;
    };
    if (at >= first && at + kTile <= first + count) {
      make(mask + (at - first));
      continue;
    }
    T tile[kTile];
    make(tile);
    int64_t begin = std::max(at, first), end = std::min(at + kTile, first + count);
    std::copy(tile + (begin - at), tile + (end - at), mask + (begin - first));
  }
}

}  // namespace viaduct::ops::cpu

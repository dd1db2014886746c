// The mask of dropout: element i of a sample is dropped by word i % 4 of Philox(sample key, i / 4, (Draw::dropout,
// op)).
#pragma once
#ifdef __AVX2__
#include <immintrin.h>
#endif

#include <algorithm>
#include <utility>

#include "core/base/philox.hpp"
#include "core/ops/cpu/vector.hpp"
#include "core/ops/elementwise.hpp"

namespace viaduct::ops::cpu {

using Words = Vec<uint64_t>;  // 32-bit numbers in the low halves; the high halves hold anything
inline constexpr int kCalls = kWidth<uint64_t>;

// One instruction, for which g++ 12 takes three products of halves and their sum.
inline Words product_of_low_halves(Words a, uint32_t b) {
#if defined(__AVX512F__)
  return std::bit_cast<Words>(_mm512_maskz_mul_epu32(0xff, std::bit_cast<__m512i>(a), _mm512_set1_epi64(b)));
#elif defined(__AVX2__)
  return std::bit_cast<Words>(_mm256_mul_epu32(std::bit_cast<__m256i>(a), _mm256_set1_epi64x(b)));
#else
  return (a & 0xffffffff) * b;
#endif
}

// The high halves: by a shuffle, because shifts compete with products for the same port.
template <size_t... lane>
inline Words high_halves(Words a, std::index_sequence<lane...>) {
  auto v = std::bit_cast<Vec<uint32_t>>(a);
  return std::bit_cast<Words>(__builtin_shufflevector(v, v, (lane | 1)...));
}
inline Words high_halves(Words a) { return high_halves(a, std::make_index_sequence<2 * kCalls>{}); }

// Lanes from `first` on of a and b by turns.
template <size_t first, size_t... lane>
inline Words by_turns(Words a, Words b, std::index_sequence<lane...>) {
  return __builtin_shufflevector(a, b, (first + lane / 2 + lane % 2 * kCalls)...);
}

// bits[4 i + w] = philox(key, counter + i, high).v[w] for kCalls calls side by side.
inline void philox_words(uint32_t bits[4 * kCalls], uint64_t key, uint64_t counter, uint64_t high) {
  Words call = Words{} + counter;
  for (int i = 0; i < kCalls; ++i) call[i] += uint64_t(i);
  Words c0 = call, c1 = call >> 32, c2 = Words{} + high, c3 = Words{} + (high >> 32);
  uint32_t k0 = uint32_t(key), k1 = uint32_t(key >> 32);
  for (int round = 0; round < 10; ++round) {
    Words p0 = product_of_low_halves(c0, 0xD2511F53u), p1 = product_of_low_halves(c2, 0xCD9E8D57u);
    c0 = high_halves(p1) ^ c1 ^ k0, c2 = high_halves(p0) ^ c3 ^ k1, c1 = p1, c3 = p0;
    k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
  }
  const Words low = (c0 & 0xffffffff) | c1 << 32, upper = (c2 & 0xffffffff) | c3 << 32;
  constexpr std::make_index_sequence<kCalls> lanes;
  const Words words[2] = {by_turns<0>(low, upper, lanes), by_turns<kCalls / 2>(low, upper, lanes)};
  std::memcpy(bits, words, sizeof words);
}

// mask[i] = 0 or 1 / (1 - p) for elements first + i of a sample, i < count.
template <class T>
void dropout_mask(T* mask, uint64_t sample_key, uint32_t op, int64_t first, int64_t count, float p) {
  constexpr int64_t kTile = 4 * kCalls;
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

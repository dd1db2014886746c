// Products of small matrices that lie in cache, one thread each: what attention does per head. A library call per head
// costs more than it computes, and cannot be followed by a softmax while the tile is near.
#pragma once
#include <algorithm>
#include <cstdint>
#include <utility>

#include "core/base/range.hpp"
#include "core/ops/cpu/upcoming.hpp"
#include "core/ops/cpu/vector.hpp"

namespace viaduct::ops::cpu {

// Tiles of 6 x 4 vectors (6 x 2 without AVX-512) keep their sums in registers, and leave some for the operands.
inline constexpr int kTileRows = 6, kTileVectors = kVectorBytes == 64 ? 4 : 2;

template <class T>
struct VectorOf {
  typedef T type __attribute__((vector_size(kVectorBytes), aligned(alignof(T)), may_alias));
};
template <class T>
using Vector = typename VectorOf<T>::type;
template <class T>
inline constexpr int64_t kLanes = kVectorBytes / int64_t(sizeof(T));

// The left operand: rows `stride` apart, or the transpose of such a matrix.
template <class T>
struct Left {
  const T* data;
  int64_t stride;
};

// Steps of a tile's inner loop that are written out: the end of a short loop is then foreseen, and seldom paid for.
inline constexpr int kTileUnroll = 4;

// What a product is added to: nothing, a row for all rows, or what c holds.
template <class T>
struct Onto {
  const T* row = nullptr;
  bool c = false;
};

template <int rows, int vectors, bool across, class T>
void multiply_tile(T* c, int64_t ldc, Left<T> a, const T* b, int64_t ldb, int64_t inner, Onto<T> onto,
                   Upcoming& upcoming) {
  constexpr int64_t L = kLanes<T>;
  static_assert(rows <= 8);
  Vector<T> sum[rows][vectors];
  for (int i = 0; i < rows; ++i)
    for (int v = 0; v < vectors; ++v) sum[i][v] = Vector<T>{};
  const T *upper = a.data, *lower = upper + 4 * a.stride;  // rows 0.. and 4.. of a
  int64_t stride = a.stride, stride3 = 3 * stride;
  auto one = [&](int step) __attribute__((always_inline)) {
    Vector<T> right[vectors];
    for (int v = 0; v < vectors; ++v) right[v] = *reinterpret_cast<const Vector<T>*>(b + v * L);
#pragma GCC unroll 8
    for (int i = 0; i < rows; ++i) {
      const T* four = i < 4 ? upper : lower;
      T left = across ? upper[i] : i % 4 < 3 ? four[i % 4 * stride + step] : four[stride3 + step];
      for (int v = 0; v < vectors; ++v) sum[i][v] += left * right[v];
    }
  };
  for (int64_t k = 0; k < inner; k += kTileUnroll) {
    if (k + kTileUnroll > inner) {
      for (; k < inner; ++k) one(0), b += ldb, across ? upper += stride : (++upper, ++lower);
      break;
    }
    upcoming.step();
#pragma GCC unroll 8
    for (int step = 0; step < kTileUnroll; ++step, b += ldb) {
      one(step);
      if (across) upper += stride;
    }
    if (!across) upper += kTileUnroll, lower += kTileUnroll;
    asm("" : "+r"(upper), "+r"(lower), "+r"(stride), "+r"(stride3));  // or g++ keeps an address for each row
  }
#pragma GCC unroll 4
  for (int v = 0; v < vectors; ++v) {
    Vector<T> row = onto.row ? *reinterpret_cast<const Vector<T>*>(onto.row + v * L) : Vector<T>{};
#pragma GCC unroll 8
    for (int i = 0; i < rows; ++i) {
      Vector<T>& to = *reinterpret_cast<Vector<T>*>(c + i * ldc + v * L);
      to = onto.c ? to + sum[i][v] : sum[i][v] + row;
    }
  }
}

// The last rows, fewer than a full tile.
template <int height, int width, bool across, class T>
void multiply_rest(T* c, int64_t ldc, int64_t rows, Left<T> a, const T* b, int64_t ldb, int64_t inner, Onto<T> onto,
                   Upcoming& upcoming) {
  if constexpr (height > 0) {
    if (rows == height) return multiply_tile<height, width, across>(c, ldc, a, b, ldb, inner, onto, upcoming);
    multiply_rest<height - 1, width, across>(c, ldc, rows, a, b, ldb, inner, onto, upcoming);
  }
}

// A panel of `width` vectors of the product, at least 1 and at most `most` of them.
template <int most, bool across, class T>
void multiply_panel(int64_t width, T* c, int64_t ldc, int64_t rows, Left<T> a, const T* b, int64_t ldb, int64_t inner,
                    Onto<T> onto, Upcoming& upcoming) {
  if constexpr (most > 1)
    if (width < most) return multiply_panel<most - 1, across>(width, c, ldc, rows, a, b, ldb, inner, onto, upcoming);
  constexpr int height = most == kTileVectors ? kTileRows : 8;
  for (; rows >= height; rows -= height, c += height * ldc, a.data += across ? height : height * a.stride)
    multiply_tile<height, most, across>(c, ldc, a, b, ldb, inner, onto, upcoming);
  multiply_rest<height - 1, most, across>(c, ldc, rows, a, b, ldb, inner, onto, upcoming);
}

// c [rows, columns] = onto + a b, or onto + the transpose of a times b; columns are a multiple of kLanes<T>. b has
// contiguous columns.
template <bool across = false, class T>
void multiply_small(T* c, int64_t ldc, int64_t rows, int64_t columns, Left<T> a, const T* b, int64_t ldb, int64_t inner,
                    Onto<T> onto, Upcoming& upcoming) {
  int64_t vectors = columns / kLanes<T>, panels = ceil_div(vectors, kTileVectors);
  for (int64_t panel = 0; panel < panels; ++panel) {  // as equal as can be: a narrow one waits for its own sums
    Range r = split_evenly(vectors, panel, panels);
    const int64_t first = r.begin * kLanes<T>;
    multiply_panel<kTileVectors, across>(r.size(), c + first, ldc, rows, a, b + first, ldb, inner,
                                         Onto<T>{onto.row ? onto.row + first : nullptr, onto.c}, upcoming);
  }
}

// Exchanges, in every pair of rows `step` apart, the blocks off the diagonal of a square of vectors.
template <int step, class T, size_t... lane>
void exchange(Vector<T>* rows, std::index_sequence<lane...>) {
  constexpr int n = int(kLanes<T>);
#pragma GCC unroll 16
  for (int i = 0; i < n; ++i) {
    if (i & step) continue;
    Vector<T> a = rows[i], b = rows[i + step];
    rows[i] = __builtin_shufflevector(a, b, (lane & step ? n + lane - step : lane)...);
    rows[i + step] = __builtin_shufflevector(a, b, (lane & step ? n + lane : lane + step)...);
  }
  if constexpr (step > 1) exchange<step / 2, T>(rows, std::index_sequence<lane...>());
}

// Transposes a square of kLanes vectors.
template <class T>
void transpose_tile(Vector<T>* rows) {
  exchange<int(kLanes<T>) / 2, T>(rows, std::make_index_sequence<kLanes<T>>());
}

}  // namespace viaduct::ops::cpu

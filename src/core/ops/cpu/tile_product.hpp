// Products of small matrices that lie in cache, one thread each: what attention does per head. A library call per head
// costs more than it computes, and cannot be followed by a softmax while the tile is near.
#pragma once
#include <algorithm>
#include <cstdint>
#include <utility>

#include "core/base/range.hpp"

namespace viaduct::ops::cpu {

// Tiles of 6 x 4 vectors (6 x 2 without AVX-512) keep their sums in registers, and leave some for the operands.
#ifdef __AVX512F__
inline constexpr int kVectorBytes = 64, kTileVectors = 4;
#else
inline constexpr int kVectorBytes = 32, kTileVectors = 2;
#endif
inline constexpr int kTileRows = 6;

template <class T>
struct VectorOf {
  typedef T type __attribute__((vector_size(kVectorBytes), aligned(alignof(T)), may_alias));
};
template <class T>
using Vector = typename VectorOf<T>::type;
template <class T>
inline constexpr int64_t kLanes = kVectorBytes / int64_t(sizeof(T));

// Element (i, k) of the left operand is data[i * row + k * step]: either a matrix or its transpose.
template <class T>
struct Left {
  const T* data;
  int64_t row, step = 1;
};

template <int rows, int vectors, class T>
void multiply_tile(T* c, int64_t ldc, Left<T> a, const T* b, int64_t ldb, int64_t inner, bool accumulate) {
  Vector<T> sum[rows][vectors];
  for (int i = 0; i < rows; ++i)
    for (int v = 0; v < vectors; ++v)
      sum[i][v] = accumulate ? *reinterpret_cast<Vector<T>*>(c + i * ldc + v * kLanes<T>) : Vector<T>{};
  for (int64_t k = 0; k < inner; ++k) {
    Vector<T> right[vectors];
    for (int v = 0; v < vectors; ++v) right[v] = *reinterpret_cast<const Vector<T>*>(b + k * ldb + v * kLanes<T>);
    for (int i = 0; i < rows; ++i) {
      T left = a.data[i * a.row + k * a.step];
      for (int v = 0; v < vectors; ++v) sum[i][v] += left * right[v];
    }
  }
  for (int i = 0; i < rows; ++i)
    for (int v = 0; v < vectors; ++v) *reinterpret_cast<Vector<T>*>(c + i * ldc + v * kLanes<T>) = sum[i][v];
}

// The last rows, fewer than a full tile.
template <int height, int width, class T>
void multiply_rest(T* c, int64_t ldc, int64_t rows, Left<T> a, const T* b, int64_t ldb, int64_t inner,
                   bool accumulate) {
  if constexpr (height > 0) {
    if (rows == height) return multiply_tile<height, width>(c, ldc, a, b, ldb, inner, accumulate);
    multiply_rest<height - 1, width>(c, ldc, rows, a, b, ldb, inner, accumulate);
  }
}

// A panel of `width` vectors of the product, at least 1 and at most `most` of them.
template <int most, class T>
void multiply_panel(int64_t width, T* c, int64_t ldc, int64_t rows, Left<T> a, const T* b, int64_t ldb, int64_t inner,
                    bool accumulate) {
  if constexpr (most > 1)
    if (width < most) return multiply_panel<most - 1>(width, c, ldc, rows, a, b, ldb, inner, accumulate);
  for (; rows >= kTileRows; rows -= kTileRows, c += kTileRows * ldc, a.data += kTileRows * a.row)
    multiply_tile<kTileRows, most>(c, ldc, a, b, ldb, inner, accumulate);
  multiply_rest<kTileRows - 1, most>(c, ldc, rows, a, b, ldb, inner, accumulate);
}

// c [rows, columns] = a b or c += a b; columns are a multiple of kLanes<T>. b has contiguous columns.
template <class T>
void multiply_small(T* c, int64_t ldc, int64_t rows, int64_t columns, Left<T> a, const T* b, int64_t ldb, int64_t inner,
                    bool accumulate = false) {
  int64_t vectors = columns / kLanes<T>, panels = ceil_div(vectors, kTileVectors);
  for (int64_t panel = 0; panel < panels; ++panel) {  // as equal as can be: a narrow one waits for its own sums
    Range r = split_evenly(vectors, panel, panels);
    multiply_panel<kTileVectors>(r.size(), c + r.begin * kLanes<T>, ldc, rows, a, b + r.begin * kLanes<T>, ldb, inner,
                                 accumulate);
  }
}

// Exchanges, in every pair of rows `step` apart, the blocks off the diagonal of a square of vectors.
template <int step, class T, size_t... lane>
void exchange(Vector<T>* rows, std::index_sequence<lane...>) {
  constexpr int n = int(kLanes<T>);
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

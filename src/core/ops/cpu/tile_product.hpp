// Products of small matrices that lie in cache, one thread each: what attention does per head. A library call per head
// costs more than it computes, and cannot be followed by a softmax while the tile is near.
#pragma once
#include <algorithm>
#include <cstdint>

#include "core/base/range.hpp"

namespace viaduct::ops::cpu {

// Tiles of 6 x 4 vectors (6 x 2 without AVX-512) keep their sums in registers, and leave some for the operands.
#ifdef __AVX512F__
inline constexpr int64_t kVectorBytes = 64, kTileVectors = 4;
#else
inline constexpr int64_t kVectorBytes = 32, kTileVectors = 2;
#endif
inline constexpr int64_t kTileRows = 6;

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

// Calls f.template operator()<n>() for a runtime n in 1..most.
template <int most, class F>
void with_count(int64_t n, F&& f) {
  if constexpr (most > 1)
    if (n < most) return with_count<most - 1>(n, f);
  f.template operator()<most>();
}

// c [rows, columns] = a b or c += a b; columns are a multiple of kLanes<T>. b has contiguous columns.
template <class T>
void multiply_small(T* c, int64_t ldc, int64_t rows, int64_t columns, Left<T> a, const T* b, int64_t ldb, int64_t inner,
                    bool accumulate = false) {
  int64_t vectors = columns / kLanes<T>, panels = ceil_div(vectors, kTileVectors);
  for (int64_t panel = 0; panel < panels; ++panel) {  // as equal as can be: a narrow one waits for its own sums
    Range r = split_evenly(vectors, panel, panels);
    int64_t j = r.begin * kLanes<T>;
    with_count<int(kTileVectors)>(r.size(), [&]<int width>() {
      int64_t i = 0;
      for (; i + kTileRows <= rows; i += kTileRows)
        multiply_tile<kTileRows, width>(c + i * ldc + j, ldc, {a.data + i * a.row, a.row, a.step}, b + j, ldb, inner,
                                        accumulate);
      if (i == rows) return;
      with_count<int(kTileRows) - 1>(rows - i, [&]<int height>() {
        multiply_tile<height, width>(c + i * ldc + j, ldc, {a.data + i * a.row, a.row, a.step}, b + j, ldb, inner,
                                     accumulate);
      });
    });
  }
}

}  // namespace viaduct::ops::cpu

// How loops are shared among threads: in blocks whose cut depends on the size alone, so that results do not depend on
// the number of threads. Small work stays on the calling thread.
#pragma once
#include <algorithm>

#include "core/base/range.hpp"

namespace viaduct::ops::cpu {

inline constexpr int64_t kBlock = 16384;  // elements: a few microseconds, above the cost of waking a thread

// f(Range) for consecutive blocks of [0, n).
template <class F>
void parallel_blocks(int64_t n, int64_t block, F f) {
  int64_t blocks = ceil_div(n, block);
#pragma omp parallel for schedule(static) if (blocks > 1)
  for (int64_t b = 0; b < blocks; ++b) f(Range{b * block, std::min(n, (b + 1) * block)});
}

// Rows of `columns` elements that make a block, a multiple of `group`.
inline int64_t row_block(int64_t columns, int64_t group = 1) {
  return align_up(std::max<int64_t>(1, kBlock / std::max<int64_t>(1, columns)), group);
}

// f(row) for every row of `columns` elements.
template <class F>
void parallel_rows(int64_t rows, int64_t columns, F f) {
  parallel_blocks(rows, row_block(columns), [&](Range r) {
    for (int64_t row = r.begin; row < r.end; ++row) f(row);
  });
}

}  // namespace viaduct::ops::cpu

#include "core/ops/cpu/rows.hpp"

#include <cstring>

#include "core/ops/cpu/elementwise.hpp"
#include "core/ops/cpu/parallel.hpp"

namespace viaduct::ops::cpu {
namespace {

void check_index(const Tensor& index, int64_t rows) {
  for (int64_t r = 0; r < index.numel(); ++r)
    if (int32_t i = data<int32_t>(index)[r]; i < 0 || i >= rows)
      fail(Exit::crash, fmt::format("index {} of a selection should be in [0, {}), found {}", r, rows, i));
}

// `columns` of `part` for every row, from column `begin` of `whole` on; copied one way or the other.
void copy_columns(Tensor whole, Tensor part, int64_t begin, bool into_whole) {
  size_t element = size_t(size_of(whole.dtype)), bytes = size_t(part.shape[1]) * element;
  for (int64_t r = 0; r < part.shape[0]; ++r) {
    auto* wide = static_cast<std::byte*>(whole.data) + size_t(r * whole.shape[1] + begin) * element;
    auto* narrow = static_cast<std::byte*>(part.data) + size_t(r) * bytes;
    into_whole ? std::memcpy(wide, narrow, bytes) : std::memcpy(narrow, wide, bytes);
  }
}

}  // namespace

void gather_rows(Tensor y, Tensor x, Tensor index) {
  check_index(index, x.shape.rows());
  int64_t bytes = x.shape.last() * size_of(x.dtype);
  const int32_t* at = data<int32_t>(index);
  parallel_rows(index.numel(), x.shape.last(), [&](int64_t r) {
    std::memcpy(static_cast<std::byte*>(y.data) + r * bytes, static_cast<const std::byte*>(x.data) + at[r] * bytes,
                size_t(bytes));
  });
}

void scatter_rows(Tensor dx, Tensor dy, Tensor index, bool accumulate) {
  constexpr int64_t kColumns = 128;
  check_index(index, dx.shape.rows());
  if (!accumulate) fill(dx, 0);
  int64_t width = dx.shape.last();
  const int32_t* at = data<int32_t>(index);
  dispatch(dx.dtype, [&]<class T>() {
    using C = compute_t<T>;
    T* to = data<T>(dx);
    const T* from = data<T>(dy);
    // A thread owns columns and adds the rows in order.
    parallel_blocks(width, dy.numel() > kBlock ? kColumns : width, [=, rows = index.numel()](Range columns) {
      for (int64_t r = 0; r < rows; ++r) {
        T* sum = to + at[r] * width;
#pragma omp simd
        for (int64_t i = columns.begin; i < columns.end; ++i) sum[i] = C(sum[i]) + C(from[r * width + i]);
      }
    });
  });
}

void join_columns(Tensor y, Tensor a, Tensor b) {
  copy_columns(y, a, 0, true);
  copy_columns(y, b, a.shape[1], true);
}

void split_columns(Tensor a, Tensor b, Tensor y) {
  copy_columns(y, a, 0, false);
  copy_columns(y, b, a.shape[1], false);
}

}  // namespace viaduct::ops::cpu

// Rows as threads share them: what normalisation and losses have in common.
#pragma once
#include "core/ops/cuda/kernel.cuh"

namespace viaduct::ops::cuda {

// A row as the lanes of a warp share it, in packs of n elements: lane l has packs l, l + 32, ... They stay in registers,
// at most `kept` of a lane; with kept = 0 they are read again each time.
template <class T, int n, int kept>
class WarpRow {
 public:
  __device__ WarpRow(const T* row, int columns) : row_(row), columns_(columns) {
    if constexpr (kept > 0) {
#pragma unroll
      for (int k = 0; k < kept; ++k)
        if (int at = column(k); at < columns) packs_[k] = load_pack<n>(row + at);
    }
  }
  // f(k, column, pack): this lane's k-th pack, which begins at that column.
  template <class F>
  __device__ void each(F f) const {
    if constexpr (kept > 0) {
#pragma unroll
      for (int k = 0; k < kept; ++k)
        if (int at = column(k); at < columns_) f(k, at, packs_[k]);
    } else {
      for (int k = 0, at = column(0); at < columns_; at = column(++k)) f(k, at, load_pack<n>(row_ + at));
    }
  }
  __device__ Pack<T, n> pack(int k) const {
    if constexpr (kept > 0)
      return packs_[k];
    else
      return load_pack<n>(row_ + column(k));
  }
  static __device__ int column(int k) { return (int(threadIdx.x) % kWarp + kWarp * k) * n; }

 private:
  const T* row_;
  int columns_;
  Pack<T, n> packs_[kept > 0 ? kept : 1];
};

// One warp per row.
constexpr int kRowsPerBlock = 4;
__device__ __forceinline__ int64_t row_of_warp() {
  return int64_t(blockIdx.x) * kRowsPerBlock + int(threadIdx.x) / kWarp;
}
inline Launch warp_per_row(int64_t rows) { return {unsigned(ceil_div(rows, kRowsPerBlock)), kRowsPerBlock * kWarp}; }

// f(column, pack) for this thread's share of a row, which thread `rank` of `size` takes. With `packed` the row is cut at
// addresses aligned to 16 bytes, wherever it begins: packs of 1 before and behind the whole ones. Otherwise all have 1.
template <class T, class F>
__device__ void for_share(const T* row, int columns, bool packed, int rank, int size, F f) {
  constexpr int n = Pack<T>::size;
  int head = packed ? min(columns, int(-reinterpret_cast<uintptr_t>(row) % 16 / sizeof(T))) : columns;
  int tail = head + (columns - head) / n * n;
  for (int at = rank; at < head; at += size) f(at, load_pack<1>(row + at));
  for (int at = head + rank * n; at < tail; at += size * n) f(at, load_pack<n>(row + at));
  for (int at = tail + rank; at < columns; at += size) f(at, load_pack<1>(row + at));
}
inline bool same_phase(const void* a, const void* b) {  // both are aligned to 16 bytes at the same elements
  return (reinterpret_cast<uintptr_t>(a) - reinterpret_cast<uintptr_t>(b)) % 16 == 0;
}

}  // namespace viaduct::ops::cuda

// Tiles of attention on tensor cores, bf16. A warp owns 16 rows of one operand of its products and keeps them in
// registers, as fragments of mma.m16n8k16 (lane = 4 g + t); the other operand is read by ldmatrix from shared memory,
// 16 rows at a time.
//
// In shared memory a row of D elements is D / 8 chunks of 16 bytes, and rows follow each other without padding.
// ldmatrix reads the same chunk of 8 consecutive rows at once; they lie in different banks because the chunks of a row
// are permuted: chunk ^ row % 8 for D = 64 and 128, where 8 chunks, all banks, separate rows; in general only
// gcd(D / 8, 8) rows, taken `period` apart, would meet in a bank, and the exclusive or is with their number.
#pragma once
#include <cstring>

#include "core/ops/cuda/attention_operands.cuh"
#include "core/ops/cuda/mma.cuh"

namespace viaduct::ops::cuda {

constexpr int kTile = 16;  // rows
constexpr float kLog2e = 1.4426950408889634f, kLn2 = 0.6931471805599453f;

using Rows = HeadRows<bfloat16>;
template <int D>
using Fragments = uint32_t[D / 16][4];  // a tile [16, D] as left operand
template <int D>
using Sums = float[D / 8][4];  // a tile [16, D] of fp32
using Square = float[2][4];    // a tile [16, 16] of fp32: element (row_in_tile(e), column_in_tile(n, e)) is [n][e]

__device__ __forceinline__ int lane_row() { return int(threadIdx.x) % kWarp / 4; }      // g
__device__ __forceinline__ int lane_in_quad() { return int(threadIdx.x) % kWarp % 4; }  // t
__device__ __forceinline__ int row_in_tile(int e) { return lane_row() + 8 * (e / 2); }
__device__ __forceinline__ int column_in_tile(int n, int e) { return 8 * n + 2 * lane_in_quad() + e % 2; }

__device__ __forceinline__ float quad_sum(float x) {
  x += __shfl_xor_sync(kAllLanes, x, 1);
  return x + __shfl_xor_sync(kAllLanes, x, 2);
}
__device__ __forceinline__ float quad_max(float x) {
  x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, 1));
  return fmaxf(x, __shfl_xor_sync(kAllLanes, x, 2));
}

// Lane t's r[m] becomes lane m's r[t], among the four lanes of a quad. Between fragments, where a lane has two columns
// of each of four chunks of a row, and 16 bytes, one chunk.
__device__ __forceinline__ void quad_transpose(uint32_t (&r)[4]) {
  const int t = lane_in_quad();
  auto exchange = [&](uint32_t& a, uint32_t& b, int bit) {
    const bool upper = t & bit;
    uint32_t received = __shfl_xor_sync(kAllLanes, upper ? a : b, bit);
    (upper ? a : b) = received;
  };
  exchange(r[0], r[1], 1), exchange(r[2], r[3], 1);
  exchange(r[0], r[2], 2), exchange(r[1], r[3], 2);
}

// 8 elements from global memory, in one access where the rows allow it; zeros when not `valid`.
__device__ __forceinline__ Pack<bfloat16> load_chunk(const bfloat16* at, bool packs, bool valid) {
  Pack<bfloat16> p{};
  if (!valid) return p;
  if (packs) return load_pack(at);
#pragma unroll
  for (int i = 0; i < 8; ++i) p.v[i] = at[i];
  return p;
}
__device__ __forceinline__ void store_chunk(bfloat16* at, bool packs, const Pack<bfloat16>& p) {
  if (packs) return store_pack(at, p);
#pragma unroll
  for (int i = 0; i < 8; ++i) at[i] = p.v[i];
}

// Offset of a chunk in shared memory, in elements.
template <int D>
__device__ __forceinline__ int chunk_at(int row, int chunk) {
  constexpr int kChunks = D / 8, apart = kChunks % 8 == 0 ? 8 : kChunks & -kChunks, period = 8 / apart;
  return row * D + (chunk ^ (row / period % apart)) * 8;
}

// Rows first.. of a head to shared memory, by the whole block; zeros beyond the last. They are there after
// cp_async_wait and a barrier.
template <int D>
__device__ void load_rows(bfloat16* shared, const Rows& from, int first, int count) {
  constexpr int kChunks = D / 8;
  for (int i = int(threadIdx.x); i < count * kChunks; i += int(blockDim.x)) {
    const int row = i / kChunks, chunk = i % kChunks;
    const bool valid = first + row < from.rows;
    const bfloat16* at = from.row(valid ? first + row : 0) + chunk * 8;
    bfloat16* to = shared + chunk_at<D>(row, chunk);
    if (from.packs)
      cp_async16(to, at, valid);
    else
      store_pack(to, load_chunk(at, false, valid));
  }
}

// Rows first.. first + 15 of a head as a left operand; zeros beyond the last.
template <int D>
__device__ __forceinline__ void load_fragments(Fragments<D>& a, const Rows& from, int first) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = first + lane_row() + 8 * half;
#pragma unroll
    for (int group = 0; group < (D + 31) / 32; ++group) {
      const int column = 32 * group + 8 * lane_in_quad();
      const bool valid = row < from.rows && column < D;
      Pack<bfloat16> chunk = load_chunk(from.row(valid ? row : 0) + (valid ? column : 0), from.packs, valid);
      uint32_t r[4];
      memcpy(r, &chunk, sizeof r);
      quad_transpose(r);
#pragma unroll
      for (int m = 0; m < 4; ++m)
        if (4 * group + m < D / 8) a[2 * group + m / 2][half + 2 * (m % 2)] = r[m];
    }
  }
}

// Rows first.. first + 15 of a head = factor of the row * sums, those beyond the last left out; zeros where the factor
// is 0, whatever the sums.
template <int D>
__device__ __forceinline__ void store_sums(const Rows& to, int first, const Sums<D>& sums, const float (&factor)[2]) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = first + lane_row() + 8 * half;
#pragma unroll
    for (int group = 0; group < (D + 31) / 32; ++group) {
      uint32_t r[4] = {};
#pragma unroll
      for (int m = 0; m < 4; ++m)
        if (4 * group + m < D / 8) {
          const float* pair = &sums[4 * group + m][2 * half];
          r[m] = factor[half] == 0 ? 0 : pack_bf16(pair[0] * factor[half], pair[1] * factor[half]);
        }
      quad_transpose(r);
      Pack<bfloat16> chunk;
      memcpy(&chunk, r, sizeof r);
      const int column = 32 * group + 8 * lane_in_quad();
      if (row < to.rows && column < D) store_chunk(to.row(row) + column, to.packs, chunk);
    }
  }
}

template <int D>
__device__ __forceinline__ void set_zero(Sums<D>& sums) {
#pragma unroll
  for (int n = 0; n < D / 8; ++n)
#pragma unroll
    for (int e = 0; e < 4; ++e) sums[n][e] = 0;
}

// Row . row of two heads, by the four lanes of a quad; zero beyond the last row.
template <int D>
__device__ __forceinline__ float row_dot(const Rows& x, const Rows& y, int row) {
  float sum = 0;
  if (row < x.rows)
#pragma unroll
    for (int column = 8 * lane_in_quad(); column < D; column += 32) {
      const Pack<bfloat16> a = load_chunk(x.row(row) + column, x.packs, true),
                           b = load_chunk(y.row(row) + column, y.packs, true);
#pragma unroll
      for (int i = 0; i < 8; ++i) sum += to_float(a.v[i]) * to_float(b.v[i]);
    }
  return quad_sum(sum);
}

// s = a b^T, b the 16 rows of shared memory from `row` on.
template <int D>
__device__ __forceinline__ void multiply_transposed(Square& s, const Fragments<D>& a, const bfloat16* shared, int row) {
  const int lane = int(threadIdx.x) % kWarp, b_row = row + lane % 8 + lane / 16 * 8, b_chunk = lane / 8 % 2;
  set_zero<kTile>(s);
#pragma unroll
  for (int k = 0; k < D / 16; ++k) {
    uint32_t b[4];
    ldmatrix_x4(b, shared + chunk_at<D>(b_row, 2 * k + b_chunk));
    mma_m16n8k16(s[0], a[k], {b[0], b[1]});
    mma_m16n8k16(s[1], a[k], {b[2], b[3]});
  }
}

// sums += a b, b the 16 rows of shared memory from `row` on.
template <int D>
__device__ __forceinline__ void multiply_add(Sums<D>& sums, const uint32_t (&a)[4], const bfloat16* shared, int row) {
  const int lane = int(threadIdx.x) % kWarp, b_row = row + lane % 16, b_chunk = lane / 16;
#pragma unroll
  for (int n = 0; n < D / 8; n += 2) {
    uint32_t b[4];
    ldmatrix_x4<true>(b, shared + chunk_at<D>(b_row, n + b_chunk));
    mma_m16n8k16(sums[n], a, {b[0], b[1]});
    mma_m16n8k16(sums[n + 1], a, {b[2], b[3]});
  }
}

// A tile of a result as the left operand of the next product, rounded to bf16.
__device__ __forceinline__ void as_operand(uint32_t (&a)[4], const Square& s) {
  a[0] = pack_bf16(s[0][0], s[0][1]), a[1] = pack_bf16(s[0][2], s[0][3]);
  a[2] = pack_bf16(s[1][0], s[1][1]), a[3] = pack_bf16(s[1][2], s[1][3]);
}

// Replaces what a clear bit marks: bit c of upper is for column c of the lane's row g, of lower for row g + 8.
__device__ __forceinline__ void replace_unmarked(Square& s, uint32_t upper, uint32_t lower, float by) {
#pragma unroll
  for (int n = 0; n < 2; ++n)
#pragma unroll
    for (int e = 0; e < 4; ++e)
      if (!((e < 2 ? upper : lower) >> column_in_tile(n, e) & 1)) s[n][e] = by;
}

// How the work on one head is divided. A block takes `tiles` tiles of rows, a warp one at a time, and goes through all
// rows of the other operand for each; these lie in shared memory, all of them where they fit, else `segment` at a time.
struct Tiling {
  int parts, tiles;  // blocks for one head, tiles for each
  int segment;       // rows
  int warps;
  size_t shared;  // bytes
};

// Bit k % 32 of word k / 32: key first + k may be attended to. By the whole block.
inline __device__ void load_key_bits(uint32_t* bits, const AttentionOperands<bfloat16>& o, HeadIndex at, int first,
                                     int count) {
  const int warps = int(blockDim.x) / kWarp, lane = int(threadIdx.x) % kWarp;
  for (int word = int(threadIdx.x) / kWarp; word * kWarp < count; word += warps) {
    uint32_t ballot = __ballot_sync(kAllLanes, o.attends(at, first + word * kWarp + lane));
    if (lane == 0) bits[word] = ballot;
  }
}
__device__ __forceinline__ uint32_t key_bits_of_tile(const uint32_t* bits, int key) {
  return bits[key / 32] >> (key % 32) & 0xffff;
}

// What all tensor-core kernels do with a block's part of a head: its warps take a tile each, round after round. For a
// tile begin(its first row), then step(it, first, count) for every segment of the other operand, then end(it). The block
// shares a segment, brought by load(first, count): once if that is all, else in every round.
template <class Load, class Begin, class Step, class End>
__device__ __forceinline__ void for_tiles(const Tiling& tiling, int part, int rows, int others, Load load, Begin begin,
                                          Step step, End end) {
  const int warps = int(blockDim.x) / kWarp;
  const int first = part * tiling.tiles, last = min(first + tiling.tiles, (rows + kTile - 1) / kTile);
  for (int round = first; round < last; round += warps) {
    const int tile = round + int(threadIdx.x) / kWarp;
    if (tile < last) begin(tile * kTile);
    for (int at = 0; at < others; at += tiling.segment) {
      const int count = min(tiling.segment, (others - at + kTile - 1) / kTile * kTile);
      if (round == first || tiling.segment < others) {
        __syncthreads();  // nobody reads what was there before
        load(at, count);
        cp_async_commit();
        cp_async_wait<0>();
        __syncthreads();
      }
      if (tile < last) step(tile * kTile, at, count);
    }
    if (tile < last) end(tile * kTile);
  }
}

}  // namespace viaduct::ops::cuda

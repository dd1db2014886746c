// Attention on tensor cores, backward, after FlashAttention-2 (Dao, 2023): with p = exp(scale q k^T - lse) recomputed,
//   dv = (mask p)^T dout;  ds = p (mask dout v^T - dout . out);  dq = scale ds k;  dk = scale ds^T q.
// There are two kinds of blocks for a head, side by side in the grid so that they meet in the second-level cache: in one
// a warp takes 16 queries and goes through the keys for dq, in the other 16 keys and goes through the queries for dk and
// dv. Every sum stays in one lane's registers, in order, blocks never meet, and warps only when shared memory is filled;
// the price is that scores and dout v^T are computed twice (7 products where 5 would do). p and ds are rounded to bf16
// for the products.
#pragma once
#include "core/ops/cuda/attention_tile.cuh"

namespace viaduct::ops::cuda {

template <int D>
constexpr int kBackwardWarps = D <= 64 ? 12 : 8;

// lse of a query in units of log 2, and dout . out.
struct QueryStatistics {
  float lse, dot;
};
// By a quad; lse is infinite where no key was left, so that there is no probability either, and beyond the last query.
template <int D>
__device__ __forceinline__ QueryStatistics statistics_of(const AttentionOperands<bfloat16>& a, HeadIndex at,
                                                         const float* lse, int query) {
  const float log_sum = query < a.q.rows ? lse[query] : -INFINITY;
  return {log_sum == -INFINITY ? INFINITY : log_sum * kLog2e, row_dot<D>(a.dout.head(at, D), a.out.head(at, D), query)};
}

template <int D>
struct QueryGradientTile {
  Fragments<D> q, dout;
  Sums<D> dq;
  QueryStatistics of_row[2];  // rows g and g + 8

  __device__ __forceinline__ void begin(const AttentionOperands<bfloat16>& a, HeadIndex at, const float* lse,
                                        int query) {
    load_fragments<D>(q, a.q.head(at, D), query);
    load_fragments<D>(dout, a.dout.head(at, D), query);
    set_zero<D>(dq);
#pragma unroll
    for (int r = 0; r < 2; ++r) of_row[r] = statistics_of<D>(a, at, lse, query + lane_row() + 8 * r);
  }

  __device__ __forceinline__ void step(const AttentionOperands<bfloat16>& a, HeadIndex at, const bfloat16* keys,
                                       const bfloat16* values, uint32_t key_bits, int query, int key, int row) {
    const float scale_log2 = a.scale * kLog2e;
    Square s, dp;
    multiply_transposed<D>(s, q, keys, row);
    multiply_transposed<D>(dp, dout, values, row);
    if (a.sample_keys) {
      const uint32_t kept = DropoutMask(a, at).keeps_tile(query, key);
      replace_unmarked(dp, __shfl_sync(kAllLanes, kept, lane_row()), __shfl_sync(kAllLanes, kept, lane_row() + 8), 0);
    }
    if (key_bits != 0xffff) replace_unmarked(s, key_bits, key_bits, -INFINITY);
#pragma unroll
    for (int n = 0; n < 2; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const QueryStatistics& of = of_row[e / 2];
        s[n][e] = fast_exp2(s[n][e] * scale_log2 - of.lse) * (dp[n][e] * a.keep - of.dot);
      }
    uint32_t ds[4];
    as_operand(ds, s);
    multiply_add<D>(dq, ds, keys, row);
  }
};

// Rows of its squares are keys, columns queries. Masked keys are like others until zeros are stored for them.
template <int D>
struct KeyGradientTile {
  Fragments<D> k, v;
  Sums<D> dk, dv;

  __device__ __forceinline__ void begin(const AttentionOperands<bfloat16>& a, HeadIndex at, int key) {
    load_fragments<D>(k, a.k.head(at, D), key);
    load_fragments<D>(v, a.v.head(at, D), key);
    set_zero<D>(dk);
    set_zero<D>(dv);
  }

  // Bit 4 n + e: whether the element [n][e] of a square is kept.
  __device__ __forceinline__ static uint32_t kept(const DropoutMask& dropout, int query, int key) {
    const uint32_t of_query = dropout.keeps_tile(query, key);
    uint32_t bits = 0;
#pragma unroll
    for (int n = 0; n < 2; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e)
        bits |= (__shfl_sync(kAllLanes, of_query, column_in_tile(n, e)) >> row_in_tile(e) & 1) << (4 * n + e);
    return bits;
  }

  __device__ __forceinline__ void step(const AttentionOperands<bfloat16>& a, HeadIndex at, const bfloat16* queries,
                                       const bfloat16* douts, const QueryStatistics* statistics, int query, int key,
                                       int row) {
    const float scale_log2 = a.scale * kLog2e;
    QueryStatistics of[2][2];  // of the lane's columns
#pragma unroll
    for (int n = 0; n < 2; ++n) {
      const Pack<float> pair = load_pack(&statistics[query + column_in_tile(n, 0)].lse);
      memcpy(of[n], &pair, sizeof pair);
    }
    const uint32_t bits = a.sample_keys ? kept(DropoutMask(a, at), query, key) : 0xff;
    Square s, dp;
    multiply_transposed<D>(s, k, queries, row);
    multiply_transposed<D>(dp, v, douts, row);
#pragma unroll
    for (int n = 0; n < 2; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const bool keep = bits >> (4 * n + e) & 1;
        const float p = fast_exp2(s[n][e] * scale_log2 - of[n][e % 2].lse);
        dp[n][e] = p * ((keep ? dp[n][e] * a.keep : 0) - of[n][e % 2].dot);
        s[n][e] = keep ? p : 0;
      }
    uint32_t left[4];
    as_operand(left, s);
    multiply_add<D>(dv, left, douts, row);
    as_operand(left, dp);
    multiply_add<D>(dk, left, queries, row);
  }
};

struct BackwardTilings {
  Tiling queries, keys;  // of the blocks that take tiles of queries, for dq, and of those that take keys, for dk and dv
  __host__ __device__ int parts() const { return queries.parts + keys.parts; }
};

template <int D>
__device__ __forceinline__ void query_pass(const AttentionOperands<bfloat16>& a, HeadIndex at, const Tiling& tiling,
                                           int part, const float* lse) {
  auto* keys = dynamic_shared<bfloat16>();
  bfloat16* values = keys + tiling.segment * D;
  auto* key_bits = reinterpret_cast<uint32_t*>(values + tiling.segment * D);
  QueryGradientTile<D> tile;
  for_tiles(
      tiling, part, a.q.rows, a.k.rows,
      [&](int first, int count) {
        load_rows<D>(keys, a.k.head(at, D), first, count);
        load_rows<D>(values, a.v.head(at, D), first, count);
        load_key_bits(key_bits, a, at, first, count);
      },
      [&](int query) { tile.begin(a, at, lse, query); },
      [&](int query, int first, int count) {
#pragma unroll 1
        for (int row = 0; row < count; row += kTile)
          tile.step(a, at, keys, values, key_bits_of_tile(key_bits, row), query, first + row, row);
      },
      [&](int query) {
        store_sums<D>(a.dq.head(at, D), query, tile.dq, {a.scale, a.scale});
      });
}

template <int D>
__device__ __forceinline__ void key_pass(const AttentionOperands<bfloat16>& a, HeadIndex at, const Tiling& tiling,
                                         int part, const float* lse, QueryStatistics* statistics) {
  auto* queries = dynamic_shared<bfloat16>();
  bfloat16* douts = queries + tiling.segment * D;
  KeyGradientTile<D> tile;
  for_tiles(
      tiling, part, a.k.rows, a.q.rows,
      [&](int first, int count) {
        load_rows<D>(queries, a.q.head(at, D), first, count);
        load_rows<D>(douts, a.dout.head(at, D), first, count);
        const int rows_at_once = int(blockDim.x) / 4;
        for (int row = first; row < first + count; row += rows_at_once) {
          const int mine = row + int(threadIdx.x) / 4;
          QueryStatistics of = statistics_of<D>(a, at, lse, mine);
          if (mine < first + count && lane_in_quad() == 0) statistics[mine] = of;
        }
      },
      [&](int key) { tile.begin(a, at, key); },
      [&](int key, int first, int count) {
#pragma unroll 1
        for (int row = 0; row < count; row += kTile)
          tile.step(a, at, queries, douts, statistics, first + row, key, row);
      },
      [&](int key) {
        float dk_factor[2], dv_factor[2];
#pragma unroll
        for (int r = 0; r < 2; ++r) {
          const bool attends = a.attends(at, key + lane_row() + 8 * r);
          dk_factor[r] = attends ? a.scale : 0, dv_factor[r] = attends ? a.keep : 0;
        }
        store_sums<D>(a.dk.head(at, D), key, tile.dk, dk_factor);
        store_sums<D>(a.dv.head(at, D), key, tile.dv, dv_factor);
      });
}

// statistics [B, H, blocks that take keys, Tq to whole tiles]: memory of a block's own.
template <int D>
__global__ void __launch_bounds__(kBackwardWarps<D>* kWarp)
    attention_backward_kernel(AttentionOperands<bfloat16> a, BackwardTilings tilings, QueryStatistics* statistics) {
  const int64_t index = blockIdx.x / tilings.parts();
  const HeadIndex at = a.head_of(index);
  const float* lse = a.lse + index * a.q.rows;
  const int part = int(blockIdx.x % tilings.parts()), key_part = part - tilings.queries.parts;
  if (key_part < 0)
    query_pass<D>(a, at, tilings.queries, part, lse);
  else
    key_pass<D>(a, at, tilings.keys, key_part, lse,
                statistics + (index * tilings.keys.parts + key_part) * ((a.q.rows + kTile - 1) / kTile * kTile));
}

}  // namespace viaduct::ops::cuda

// Attention on tensor cores, forward: FlashAttention-2 (Dao, "FlashAttention-2: Faster Attention with Better
// Parallelism and Work Partitioning", 2023). Each warp takes 16 queries and goes through the keys by up to 48, in
// tiles of 16, so that 197 tokens cost 208; keys and values lie in shared memory (attention_tile.cuh). Scores, their
// running maximum and sum, and the output stay in registers; probabilities are rounded to bf16 for the second product.
#pragma once
#include "core/ops/cuda/attention_tile.cuh"

namespace viaduct::ops::cuda {

// Warps that share a multiprocessor's registers: what the largest block has.
template <int D>
constexpr int kForwardWarps = D <= 80 ? 16 : 12;

template <int D>
struct ForwardTile {
  static constexpr int kTiles = D <= 64 ? 3 : 2;  // of keys in a step: what registers hold
  Fragments<D> q;
  Sums<D> o;
  // Of the rows g and g + 8: the largest score in units of log 2, and the sum of exp(score - largest) over this lane's
  // columns.
  float largest[2], sum[2];

  __device__ __forceinline__ void begin(const AttentionOperands<bfloat16>& a, HeadIndex at, int query) {
    load_fragments<D>(q, a.q.head(at, D), query);
    set_zero<D>(o);
    largest[0] = largest[1] = -INFINITY, sum[0] = sum[1] = 0;
  }

  // Against the keys of a step, rows `row`.. of `count` in shared memory; minus infinity where there is none.
  __device__ __forceinline__ void scores(Square (&s)[kTiles], const bfloat16* keys, const uint32_t* key_bits, int row,
                                         int count) {
#pragma unroll
    for (int c = 0; c < kTiles; ++c) {
      uint32_t bits = 0;
      if (row + kTile * c < count) {
        multiply_transposed<D>(s[c], q, keys, row + kTile * c);
        bits = key_bits_of_tile(key_bits, row + kTile * c);
      }
      if (bits != 0xffff) replace_unmarked(s[c], bits, bits, -INFINITY);
    }
  }

  // Scores become exp(score - largest); what was summed before is brought to the new largest score.
  __device__ __forceinline__ void exponentials(Square (&s)[kTiles], float scale_log2) {
    float factor[2], shift[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float most = -INFINITY;
#pragma unroll
      for (int c = 0; c < kTiles; ++c)
#pragma unroll
        for (int n = 0; n < 2; ++n) most = fmaxf(most, fmaxf(s[c][n][2 * r], s[c][n][2 * r + 1]));
      most = fmaxf(largest[r], quad_max(most) * scale_log2);
      shift[r] = most == -INFINITY ? 0 : most;  // no key yet: exp(-inf) below, not of a NaN
      factor[r] = fast_exp2(largest[r] - shift[r]);
      largest[r] = most, sum[r] *= factor[r];
    }
#pragma unroll
    for (int c = 0; c < kTiles; ++c)
#pragma unroll
      for (int n = 0; n < 2; ++n)
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          s[c][n][e] = fast_exp2(s[c][n][e] * scale_log2 - shift[e / 2]);
          sum[e / 2] += s[c][n][e];
        }
#pragma unroll
    for (int n = 0; n < D / 8; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e) o[n][e] *= factor[e / 2];
  }

  // o += the probabilities that dropout keeps * values; `key` is that of the first.
  __device__ __forceinline__ void add_values(Square (&s)[kTiles], const AttentionOperands<bfloat16>& a,
                                             const DropoutMask& dropout, const bfloat16* values, int query, int key,
                                             int row, int count) {
#pragma unroll
    for (int c = 0; c < kTiles; ++c) {
      if (row + kTile * c >= count) break;
      if (a.sample_keys) {
        const uint32_t kept = dropout.keeps_tile(query, key + kTile * c);
        replace_unmarked(s[c], __shfl_sync(kAllLanes, kept, lane_row()), __shfl_sync(kAllLanes, kept, lane_row() + 8),
                         0);
      }
      uint32_t p[4];
      as_operand(p, s[c]);
      multiply_add<D>(o, p, values, row + kTile * c);
    }
  }

  // out = o / sum, zeros where no key was left; lse = log of the sum of exp(scale score).
  __device__ __forceinline__ void end(const AttentionOperands<bfloat16>& a, HeadIndex at, int query) {
    float factor[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float all = quad_sum(sum[r]);
      if (all == 0) all = 1;
      factor[r] = a.keep / all;
      const int row = query + lane_row() + 8 * r;
      if (a.lse && lane_in_quad() == 0 && row < a.q.rows)
        a.lse[a.statistic(at, row)] = fmaf(largest[r], kLn2, logf(all));
    }
    store_sums<D>(a.out.head(at, D), query, o, factor);
  }
};

template <int D>
__global__ void __launch_bounds__(kForwardWarps<D>* kWarp)
    attention_forward_kernel(AttentionOperands<bfloat16> a, Tiling tiling) {
  auto* keys = dynamic_shared<bfloat16>();
  bfloat16* values = keys + tiling.segment * D;
  auto* key_bits = reinterpret_cast<uint32_t*>(values + tiling.segment * D);
  const HeadIndex at = a.head_of(blockIdx.x / tiling.parts);
  const DropoutMask dropout(a, at);
  ForwardTile<D> tile;
  for_tiles(
      tiling, int(blockIdx.x) % tiling.parts, a.q.rows, a.k.rows,
      [&](int first, int count) {
        load_rows<D>(keys, a.k.head(at, D), first, count);
        load_rows<D>(values, a.v.head(at, D), first, count);
        load_key_bits(key_bits, a, at, first, count);
      },
      [&](int query) { tile.begin(a, at, query); },
      [&](int query, int first, int count) {
#pragma unroll 1
        for (int row = 0; row < count; row += tile.kTiles * kTile) {
          Square s[tile.kTiles];
          tile.scores(s, keys, key_bits, row, count);
          tile.exponentials(s, a.scale * kLog2e);
          tile.add_values(s, a, dropout, values, query, first + row, row, count);
        }
      },
      [&](int query) { tile.end(a, at, query); });
}

}  // namespace viaduct::ops::cuda

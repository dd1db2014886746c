// How much of a head a block of the tensor-core kernels takes, and the launch.
#pragma once
#include <algorithm>

#include "core/ops/cuda/attention_tile.cuh"

namespace viaduct::ops::cuda {

// Blocks that fill a GPU: where there are fewer heads, several blocks divide one.
constexpr int64_t kEnoughBlocks = 256;
constexpr int kLeastWarps = 4;  // of a block: fewer do not load fast enough

inline int64_t tiles_of(int64_t rows) { return ceil_div(rows, kTile); }
inline int64_t tiles_per_block(int64_t tiles, int64_t heads) {
  return ceil_div(tiles, std::clamp<int64_t>(ceil_div(kEnoughBlocks, std::max<int64_t>(heads, 1)), 1, tiles));
}
inline int64_t blocks_per_head(int64_t rows, int64_t heads) {
  return ceil_div(tiles_of(rows), tiles_per_block(tiles_of(rows), heads));
}

inline int64_t shared_per_block() {  // bytes that a block may have
  int device = 0, bytes = 0;
  check(cudaGetDevice(&device));
  check(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
  return bytes;
}

// Tiles of `rows` against all of `others`, two operands of these in shared memory; `most_warps` share a multiprocessor.
inline Tiling make_tiling(int64_t rows, int64_t others, int64_t heads, int64_t dim, int64_t most_warps) {
  constexpr int64_t kReserved = 1024;  // bytes of shared memory that the system takes of every block
  const int64_t most_shared = shared_per_block(), rows_at_once = 64;
  auto bytes = [&](int64_t segment) { return segment * dim * 4 + ceil_div(segment, 32) * 4; };
  int64_t segment = align_up(others, kTile);
  if (bytes(segment) > most_shared) {  // a few at a time, and two blocks, so that one works while the other loads
    segment = rows_at_once;
    while (2 * (bytes(segment + rows_at_once) + kReserved) <= most_shared) segment += rows_at_once;
  }
  const int64_t blocks =
      std::clamp<int64_t>((most_shared + kReserved) / (bytes(segment) + kReserved), 1, most_warps / kLeastWarps);
  const int64_t tiles = tiles_per_block(tiles_of(rows), heads), rounds = ceil_div(tiles, most_warps / blocks);
  return {int(blocks_per_head(rows, heads)), int(tiles), int(segment),
          int(std::max<int64_t>(kLeastWarps, ceil_div(tiles, rounds))), size_t(bytes(segment))};
}

template <class... P, class... A>
void launch_tiles(const Ctx& ctx, void (*kernel)(P...), int64_t blocks, int warps, size_t shared, const A&... args) {
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(shared)));
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout, 100));
  launch(ctx, kernel, {dim3(unsigned(blocks)), dim3(unsigned(warps * kWarp)), shared}, args...);
}

template <class F>
void dispatch_head_dim(int dim, F&& f) {
  switch (dim) {
    case 32:
      return f.template operator()<32>();
    case 64:
      return f.template operator()<64>();
    case 80:
      return f.template operator()<80>();
    default:
      return f.template operator()<128>();
  }
}

}  // namespace viaduct::ops::cuda

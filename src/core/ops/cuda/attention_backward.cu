#include "core/ops/cuda/attention_backward.cuh"

#include "core/ops/cuda/attention_kernels.cuh"
#include "core/ops/cuda/attention_tiling.cuh"

namespace viaduct::ops::cuda {

int64_t tensor_core_backward_scratch(const AttentionArgs& a) {
  const int64_t heads = a.q.rows.shape[0] * a.heads, queries = a.q.rows.shape[1], keys = a.k.rows.shape[1];
  return heads * blocks_per_head(keys, heads) * align_up(queries, kTile) * int64_t(sizeof(QueryStatistics));
}

void tensor_core_attention_backward(const Ctx& ctx, const AttentionOperands<bfloat16>& a, void* scratch) {
  dispatch_head_dim(a.dim, [&]<int D>() {
    const BackwardTilings tilings{make_tiling(a.q.rows, a.k.rows, a.heads_in_all, D, kBackwardWarps<D>),
                                  make_tiling(a.k.rows, a.q.rows, a.heads_in_all, D, kBackwardWarps<D>)};
    launch_tiles(ctx, attention_backward_kernel<D>, a.heads_in_all * tilings.parts(),
                 std::max(tilings.queries.warps, tilings.keys.warps),
                 std::max(tilings.queries.shared, tilings.keys.shared), a, tilings,
                 static_cast<QueryStatistics*>(scratch));
  });
}

}  // namespace viaduct::ops::cuda

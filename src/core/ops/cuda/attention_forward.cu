#include "core/ops/cuda/attention_forward.cuh"

#include "core/ops/cuda/attention_kernels.cuh"
#include "core/ops/cuda/attention_tiling.cuh"

namespace viaduct::ops::cuda {

void tensor_core_attention(const Ctx& ctx, const AttentionOperands<bfloat16>& a) {
  dispatch_head_dim(a.dim, [&]<int D>() {
    const Tiling tiling = make_tiling(a.q.rows, a.k.rows, a.heads_in_all, D, kForwardWarps<D>);
    launch_tiles(ctx, attention_forward_kernel<D>, a.heads_in_all * tiling.parts, tiling.warps, tiling.shared, a,
                 tiling);
  });
}

}  // namespace viaduct::ops::cuda

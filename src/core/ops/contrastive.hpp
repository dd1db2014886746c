// What a contrastive loss over unit vectors needs.
#pragma once
#include "core/device/context.hpp"

namespace viaduct::ops {

// Row by row y = x / max(|x|, 1e-12), the norm in fp32 (fp64 for fp64); torch's F.normalize. y may be x.
void l2_normalize(Ctx&, Tensor y, Tensor x);
void l2_normalize_backward(Ctx&, Tensor dx, Tensor dy, Tensor x);  // dx may be dy

// One direction of a contrastive cross entropy: logits = exp(log_scale) q k^T, the label of row i is key first + i.
// Of several ranks each has its own rows as queries and the rows of all of them as keys, its own from `first` on; alone
// q and k have the same rows and `first` is 0. R may be 0.
struct ContrastiveArgs {
  Tensor q, k;       // [R, C], [N, C]
  Tensor log_scale;  // [1], of any floating dtype
  int64_t first = 0;
  double weight = 1;  // of the losses and, with them, of the gradients
};
// Every gradient is added to and may be absent. They are those of the sum of the losses.
struct ContrastiveGrads {
  Tensor dq, dk;      // [R, C]; [N, C]: what the queries of this rank give to every key
  Tensor dlog_scale;  // [1], gradient dtype
};
// losses [R] fp32 (fp64 for fp64). Computed in fp32 (fp64 for fp64).
void contrastive(Ctx&, Tensor losses, const ContrastiveGrads&, const ContrastiveArgs&);

}  // namespace viaduct::ops

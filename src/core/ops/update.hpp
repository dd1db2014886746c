// What the optimizer does to flat ranges.
#pragma once
#include "core/device/context.hpp"

namespace viaduct::ops {

// out [1] fp64 = sum of squares of x (flat, fp32 or fp64), summed in fixed chunks of kNormChunk elements in order: the
// same bits for any number of threads, and for any cut into shards that are aligned to the chunks. Not finite if any x
// is not.
inline constexpr int64_t kNormChunk = 65536;
void squared_norm(Ctx&, Tensor out, Tensor x);
// Its two halves, for shards: out [chunks] fp64, the sum of each chunk; out [1] = the sum of `sums`, in order.
void squared_norm_chunks(Ctx&, Tensor out, Tensor x);
void sum_in_order(Ctx&, Tensor out, Tensor sums);

// AdamW (Loshchilov & Hutter 2019), torch.optim.AdamW's order of operations, step t counted from 1, g = grad * scale:
//   p -= lr wd p;  m += (1 - b1)(g - m);  v = b2 v + (1 - b2) g^2;
//   p -= lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)
// `master` is the fp32 value (the same tensor as `value` in fp32); a bf16 `value` receives its rounding.
struct AdamWArgs {
  Tensor value, master, m, v, grad;  // flat, of one length; master, m, v in fp32 (fp64 for fp64)
  double learning_rate = 5e-5, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  int64_t t = 1;
  double grad_scale = 1;
};
void adamw(Ctx&, const AdamWArgs&);

}  // namespace viaduct::ops

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

// What varies from step to step reaches the update as numbers on the device (rule R4), so that a captured step can be
// replayed: fp64 [step_scalar::count], by these places.
namespace step_scalar {
enum : int64_t {
  learning_rate,
  correction1,       // 1 - beta1^t, t counted from 1
  root_correction2,  // sqrt(1 - beta2^t)
  max_norm,          // 0: no clipping
  grad_scale,        // set by clip: what the summed gradient is multiplied by; NaN: there is no update
  grad_norm,         // set by clip: of the mean gradient, before clipping
  average_weight,    // of the new values in their moving average
  count
};
}

// Clipping by global norm, as torch.nn.utils.clip_grad_norm_, for gradients that are still sums over loss terms: the
// division and the clipping become one factor. squared_norm [1] of the summed gradient; sums: those of the step
// (step_tail.hpp), whose loss and number of terms are read.
void clip(Ctx&, Tensor scalars, Tensor squared_norm, Tensor sums);

// AdamW (Loshchilov & Hutter 2019), torch.optim.AdamW's order of operations, step t counted from 1,
// g = grad * grad_scale:
//   p -= lr wd p;  m += (1 - b1)(g - m);  v = b2 v + (1 - b2) g^2;
//   p -= lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)
// `master` is the fp32 value (the same tensor as `value` in fp32); a bf16 `value` receives its rounding.
struct AdamWArgs {
  Tensor value, master, m, v, grad;  // flat, of one length; master, m, v in fp32 (fp64 for fp64)
  Tensor scalars;                    // fp64 [step_scalar::count]
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  double rate = 1;  // of the learning rate
};
void adamw(Ctx&, const AdamWArgs&);

// average += w (values - average) with w = scalars[average_weight], by torch.lerp's formula, which gives the values
// themselves for w = 1; nothing where there is no update. average, values: flat, fp32 (fp64 in checks).
void moving_average(Ctx&, Tensor average, Tensor values, Tensor scalars);
// Exchanges the elements of two flat tensors, fp32 (fp64 in checks).
void exchange(Ctx&, Tensor a, Tensor b);

}  // namespace viaduct::ops

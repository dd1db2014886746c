// Scaled dot-product attention, self and cross: softmax(scale q k^T + mask) v per head; softmax in fp32 (fp64 for fp64).
#pragma once
#include "core/device/context.hpp"

namespace viaduct::ops {

// One of q, k, v inside a packed projection: rows [B, T, C]; head h is columns [column + h D, column + (h + 1) D).
struct Heads {
  Tensor rows;
  int64_t column = 0;
};

struct AttentionArgs {
  Heads q, k, v;  // q [B, Tq, ..], k and v [B, Tk, ..]
  int64_t heads = 1, head_dim = 64;
  double scale = 0.125;
  Tensor key_mask{};  // [B, Tk] int32, 1 = attend, 0 = masked; absent: all. A query with no key left gets zeros.
  float dropout = 0;  // on the probabilities; Philox by (ctx.sample_keys[b], op, element), see elementwise.hpp
  uint32_t op = 0;
};
// out [B, Tq, H D]; lse [B, H, Tq] fp32 (fp64 for fp64): log-sum-exp of the scaled scores, absent in inference.
void attention(Ctx&, Tensor out, Tensor lse, const AttentionArgs&);

// Writes dq, dk, dv (same layout as q, k, v). Reads out and lse of the forward pass.
struct AttentionGrads {
  Heads dq, dk, dv;
};
void attention_backward(Ctx&, const AttentionGrads&, Tensor dout, Tensor out, Tensor lse, const AttentionArgs&);

}  // namespace viaduct::ops

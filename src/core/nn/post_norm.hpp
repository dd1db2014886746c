// The parts of transformer layers that normalise after the residual sum (Vaswani et al. 2017, BERT, RoBERTa), with
// Hugging Face's names below a prefix. In all of them
//   forward writes `out`, which the caller owns, and with `saved` keeps what backward reads. The inputs are the
//   caller's too: backward is given them again, as they were.
//   backward updates d in place: in, the gradient of the output; out, that of the residual input (rule R1).
#pragma once
#include "core/nn/layer_norm.hpp"
#include "core/nn/linear.hpp"
#include "core/ops/attention.hpp"

namespace viaduct::nn {

struct PostNormOptions {
  int64_t width, heads, mlp_width;
  ops::Activation activation;
  double eps;
  float stddev;  // of every initial weight
  float hidden_dropout, attention_dropout;
  uint32_t first_op;  // the number of the first dropout; how many follow is said beside each layer
};

// out = LN(residual + dropout(W x + b)): `dense`, `LayerNorm`.
struct PostNormOutput {
  Linear dense;
  LayerNorm norm;
  ops::DropoutOptions dropout;
  struct Saved {
    Tensor sum;  // what the norm reads
    ops::NormStats stats;
  };

  PostNormOutput(ParameterStore&, const std::string& prefix, int64_t in, const PostNormOptions&, uint32_t op);
  // `out` may be the residual, and absent: then only `saved` is wanted.
  void forward(Ctx&, Tensor out, Tensor residual, Tensor x, Saved*) const;
  // The output once more, without products: [.., W], for who reads it in backward.
  void forward_again(Ctx& ctx, Tensor out, const Saved& saved) const { norm.forward(ctx, out, {}, saved.sum); }
  // dx is written; with an activation it is the gradient of what that was applied to (ops/linear.hpp).
  void backward(Ctx&, Tensor d, Tensor dx, Tensor x, const Saved&, const ops::LinearInputGradOptions& = {}) const;
};

// out = LN(x + dropout(W2 act(W1 x))): `intermediate.dense`, `output.dense`, `output.LayerNorm`. One dropout.
struct PostNormMlp {
  Linear up;
  PostNormOutput output;
  ops::Activation activation;
  struct Saved {
    Tensor pre, act;
    PostNormOutput::Saved output;
  };

  PostNormMlp(ParameterStore&, const std::string& prefix, const PostNormOptions&, uint32_t op);
  void forward(Ctx&, Tensor out, Tensor x, Saved*) const;
  void backward(Ctx&, Tensor d, Tensor x, const Saved&) const;
};

struct PostNormAttentionSaved {
  Tensor q;              // [B, Tq, W]; absent where kv holds the queries too
  Tensor kv;             // [B, Tk, 2 W], or [B, T, 3 W]: q, k, v
  Tensor attended, lse;  // [B, Tq, W]; [B, H, Tq]
  PostNormOutput::Saved output;
};

// out = LN(x + dropout(O attention(x, x))): `self.qkv` (rows q, k, v), `output.dense`, `output.LayerNorm`. Two dropouts.
struct PostNormSelfAttention {
  Linear qkv;
  PostNormOutput output;
  PostNormOptions options;
  uint32_t op;
  using Saved = PostNormAttentionSaved;

  PostNormSelfAttention(ParameterStore&, const std::string& prefix, const PostNormOptions&, uint32_t op);
  // x [B, T, W]; mask [B, T] int32 of the keys, absent: all.
  void forward(Ctx&, Tensor out, Tensor x, Tensor mask, Saved*) const;
  void backward(Ctx&, Tensor d, Tensor x, Tensor mask, const Saved&) const;

  // Row 0 of that: out [B, W].
  void forward_first_token(Ctx&, Tensor out, Tensor x, Tensor mask, Saved*) const;
  // d [B, T, W] is written, from d_first [B, W], which is used up.
  void backward_first_token(Ctx&, Tensor d, Tensor d_first, Tensor x, Tensor mask, const Saved&) const;
};

// out = LN(x + dropout(O attention(x, y))): `self.query`, `self.kv` (rows k, v), `output.dense`, `output.LayerNorm`.
// Two dropouts.
struct PostNormCrossAttention {
  Linear query, kv;
  PostNormOutput output;
  PostNormOptions options;
  uint32_t op;
  using Saved = PostNormAttentionSaved;

  PostNormCrossAttention(ParameterStore&, const std::string& prefix, const PostNormOptions&, uint32_t op);
  // x [B, Tx, W], or [B, W] for one query; y [B, Ty, W]; y_mask [B, Ty] int32, absent: all.
  void forward(Ctx&, Tensor out, Tensor x, Tensor y, Tensor y_mask, Saved*) const;
  // dy is written or, with `accumulate`, added to; absent: not wanted.
  void backward(Ctx&, Tensor d, Tensor dy, bool accumulate, Tensor x, Tensor y, Tensor y_mask, const Saved&) const;
};

}  // namespace viaduct::nn

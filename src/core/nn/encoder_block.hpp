// A pre-norm transformer encoder block (Vaswani et al. 2017; pre-norm as in ViT):
//   x += dropout(O attention(LN1 x));  x += dropout(W2 act(W1 LN2 x))
#pragma once
#include "core/nn/layer_norm.hpp"
#include "core/nn/linear.hpp"
#include "core/ops/attention.hpp"

namespace viaduct::nn {

struct EncoderBlockNames {
  std::string norm1, qkv, out, norm2, up, down;  // the checkpoint's names, with the block's prefix
};

struct EncoderBlockInit {
  float qkv, out, up, down;  // standard deviations of the initial weights
};

struct EncoderBlockOptions {
  int64_t width, heads, mlp_width;
  ops::Activation activation;
  double eps;
  bool qkv_bias;
  EncoderBlockInit init;
  float hidden_dropout, attention_dropout;
  uint32_t first_op;  // the block's dropouts are numbered first_op .. first_op + 2
};

struct EncoderBlock {
  EncoderBlockOptions options;
  LayerNorm norm1;
  Linear qkv;  // [3 width, width]: rows q, k, v
  Linear out;
  LayerNorm norm2;
  Linear up, down;

  EncoderBlock(ParameterStore&, const EncoderBlockNames&, const EncoderBlockOptions&);

  using Inputs = Tensor;  // x [B, T, W]

  // What backward reads. The outputs of the norms are not here: they are made again from x and middle.
  struct Saved {
    Tensor x;  // [B, T, W] the block's input
    ops::NormStats stats1;
    Tensor q, qkv;         // [B, T, 3 W]; q apart, [B, W], when only the first token goes on
    Tensor attended, lse;  // [B, T, W]; [B, H, T]
    Tensor middle;         // [B, T, W] the residual stream between the halves
    ops::NormStats stats2;
    Tensor pre, act;  // [B, T, MLP] before and after the activation
  };

  // out [B, T, W] is the caller's (kept by it, where there is a next block to read it). With `saved` x must live until
  // backward; without, all else is temporary and `out` may be x. An absent `out` is for recomputation: only `saved` is
  // wanted.
  void forward(Ctx&, Tensor out, Tensor x, Saved*) const;
  // d [B, T, W]: in, the gradient of the output; out, the gradient of the input (rule R1).
  void backward(Ctx&, Tensor d, const Saved&) const;

  // The last block of a model that reads only token 0: keys and values of all rows, the rest for that row alone. The
  // same numbers as forward()[:, 0] for 7 % less work in a ViT-B. out [B, W].
  void forward_first_token(Ctx&, Tensor out, Tensor x, Saved*) const;
  // d_first [B, W] is the gradient of that; d [B, T, W] is written.
  void backward_first_token(Ctx&, Tensor d, Tensor d_first, const Saved&) const;

 private:
  ops::AttentionArgs attention_args(Tensor q, int64_t q_column, Tensor kv, int64_t k_column) const;
  void mlp_forward(Ctx&, Tensor out, Tensor middle, Saved*) const;  // out = middle + down(act(up(norm2(middle))))
  void mlp_backward(Ctx&, Tensor d, const Saved&) const;            // d: gradient of y in, of middle out
  // y = residual + dropout(linear(x)); y may be the residual.
  void add_branch(Ctx&, const Linear&, Tensor y, Tensor residual, Tensor x, uint32_t op) const;
  Tensor branch_gradient(Ctx&, Tensor d, uint32_t op) const;  // the gradient of linear(x) above
};

}  // namespace viaduct::nn

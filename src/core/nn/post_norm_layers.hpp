// Whole post-norm layers: BERT's without cross attention, as in a text tower, and with it, as in a cross-modal encoder.
#pragma once
#include "core/nn/post_norm.hpp"

namespace viaduct::nn {

// a = self(x), out = mlp(a): `attention.*`, `intermediate.*`, `output.*` below the prefix. Three dropouts.
struct TextLayer {
  static constexpr uint32_t kDropouts = 3;
  struct Inputs {
    Tensor x;     // [B, T, W]
    Tensor mask;  // [B, T] int32, absent: all
  };
  struct Saved {
    Inputs in;
    PostNormSelfAttention::Saved self;
    PostNormMlp::Saved mlp;
  };
  PostNormSelfAttention self;
  PostNormMlp mlp;

  // `prefix` with its last dot: "text_model.encoder.layer.0."
  TextLayer(ParameterStore&, const std::string& prefix, const PostNormOptions&);

  // out [B, T, W] is the caller's (kept by it, where there is a next layer to read it). With `saved` the inputs must
  // live until backward; without, all else is temporary and `out` may be x.
  // An absent `out` is for recomputation: only `saved` is wanted.
  void forward(Ctx&, Tensor out, const Inputs&, Saved*) const;
  // d [B, T, W]: in, the gradient of out; out, the gradient of x (rule R1).
  void backward(Ctx&, Tensor d, const Saved&) const;
};

// a = self(x), c = cross(a, y), out = mlp(c): `attention.*`, `crossattention.*`, `intermediate.*`, `output.*`. Five
// dropouts. y is read only, so two layers may read each other's inputs; `out` may be x only when nobody does any more.
struct CrossLayer {
  static constexpr uint32_t kDropouts = 5;
  struct Inputs {
    Tensor x, x_mask;  // [B, Tx, W] the own stream; [B, Tx] int32, absent: all
    Tensor y, y_mask;  // [B, Ty, W] the other stream
  };
  struct Saved {
    Inputs in;
    PostNormSelfAttention::Saved self;
    PostNormCrossAttention::Saved cross;
    PostNormMlp::Saved mlp;
  };
  PostNormSelfAttention self;
  PostNormCrossAttention cross;
  PostNormMlp mlp;

  CrossLayer(ParameterStore&, const std::string& prefix, const PostNormOptions&);

  // As in TextLayer.
  void forward(Ctx&, Tensor out, const Inputs&, Saved*) const;
  // d: in, the gradient of out; out, that of x. dy: written or, with `accumulate`, added to; absent: not wanted. A pair
  // of layers that read each other's inputs:
  //   text.backward(ctx, d_text, {from_text, false}, ..);  image.backward(ctx, d_image, {d_text, true}, ..);
  //   ops::add(ctx, d_image, d_image, from_text);
  struct OtherGrad {
    Tensor dy;
    bool accumulate = false;
  };
  void backward(Ctx&, Tensor d, OtherGrad, const Saved&) const;

  // The last layer of a model that reads only token 0 of its output: out [B, W] = forward()[:, 0], with the keys and
  // values of all rows and nothing else but that row. (Dropout on probabilities is drawn for other elements.)
  void forward_first_token(Ctx&, Tensor out, const Inputs&, Saved*) const;
  // d [B, Tx, W] is written, from d_first [B, W], which is used up.
  void backward_first_token(Ctx&, Tensor d, Tensor d_first, OtherGrad, const Saved&) const;

 private:
  void cross_and_mlp(Ctx&, Tensor out, Tensor a, const Inputs&, Saved*) const;
  void cross_and_mlp_backward(Ctx&, Tensor d, OtherGrad, const Saved&) const;
};

}  // namespace viaduct::nn

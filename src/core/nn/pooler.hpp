// BERT's pooler: out = tanh(W x + b) of token 0's rows, `dense` below a prefix.
#pragma once
#include "core/nn/linear.hpp"

namespace viaduct::nn {

struct Pooler {
  Linear dense;
  struct Saved {
    Tensor x, pre;  // [B, in], [B, out]
  };

  // `prefix` with its last dot: "cross_modal_text_pooler."
  Pooler(ParameterStore& store, const std::string& prefix, int64_t in, int64_t out, float stddev)
      : dense(store, prefix + "dense", in, out, {true, stddev}) {}

  // x [B, in]: ops::select_token takes it out of [B, T, in]; out [B, out] is the caller's. With `saved` x must live
  // until backward.
  void forward(Ctx& ctx, Tensor out, Tensor x, Saved* saved) const {
    Tensor pre = saved ? ctx.arena.keep(out.shape, out.dtype) : Tensor{};
    dense.forward(ctx, out, x, {.activation = ops::Activation::tanh, .pre = pre});
    if (saved) *saved = {x, pre};
  }
  // dx [B, in] is written; absent: not wanted.
  void backward(Ctx& ctx, Tensor dx, Tensor dy, const Saved& saved) const {
    auto scope = ctx.arena.scope("pooler");
    Tensor d_pre = ctx.arena.temp(dy.shape, dy.dtype);
    ops::activation_backward(ctx, d_pre, dy, saved.pre, ops::Activation::tanh);
    dense.backward(ctx, dx, d_pre, saved.x);
  }
};

}  // namespace viaduct::nn

#include "core/nn/encoder_block.hpp"

#include <cmath>

namespace viaduct::nn {

EncoderBlock::EncoderBlock(ParameterStore& store, const EncoderBlockNames& names, const EncoderBlockOptions& o)
    : options(o),
      norm1(store, names.norm1, o.width, o.eps),
      qkv(store, names.qkv, o.width, 3 * o.width, {o.qkv_bias, o.init.qkv}),
      out(store, names.out, o.width, o.width, {true, o.init.out}),
      norm2(store, names.norm2, o.width, o.eps),
      up(store, names.up, o.width, o.mlp_width, {true, o.init.up}),
      down(store, names.down, o.mlp_width, o.width, {true, o.init.down}) {}

ops::AttentionArgs EncoderBlock::attention_args(Tensor q, int64_t q_column, Tensor kv, int64_t k_column) const {
  int64_t head_dim = options.width / options.heads;
  return {.q = {q, q_column},
          .k = {kv, k_column},
          .v = {kv, k_column + options.width},
          .heads = options.heads,
          .head_dim = head_dim,
          .scale = 1 / std::sqrt(double(head_dim)),
          .dropout = options.attention_dropout,
          .op = options.first_op};
}

void EncoderBlock::add_branch(Ctx& ctx, const Linear& linear, Tensor y, Tensor residual, Tensor x, uint32_t op) const {
  if (options.hidden_dropout == 0 || !ctx.training) return linear.forward(ctx, y, x, {.residual = residual});
  auto scope = ctx.arena.scope("branch");
  Tensor branch = ctx.arena.temp(y.shape, y.dtype);
  linear.forward(ctx, branch, x);
  ops::dropout(ctx, branch, branch, {options.hidden_dropout, op});
  ops::add(ctx, y, residual, branch);
}

Tensor EncoderBlock::branch_gradient(Ctx& ctx, Tensor d, uint32_t op) const {
  if (options.hidden_dropout == 0 || !ctx.training) return d;
  Tensor masked = ctx.arena.temp(d.shape, d.dtype);
  ops::dropout(ctx, masked, d, {options.hidden_dropout, op});
  return masked;
}

void EncoderBlock::forward(Ctx& ctx, Tensor y, Tensor x, Saved* saved) const {
  auto scope = ctx.arena.scope("block");
  Arena& arena = ctx.arena;
  int64_t B = x.shape[0], T = x.shape[1], W = options.width;
  auto make = [&](Shape shape) { return saved ? arena.keep(shape, x.dtype) : arena.temp(shape, x.dtype); };

  Saved s;
  s.x = x;
  if (saved) s.stats1 = keep_stats(ctx, x), s.lse = arena.keep({B, options.heads, T}, stat_dtype(x.dtype));
  s.qkv = make({B, T, 3 * W}), s.attended = make({B, T, W});
  s.middle = saved ? arena.keep(x.shape, x.dtype) : y;
  {
    auto inner = arena.scope("norm");
    Tensor normed = arena.temp(x.shape, x.dtype);
    norm1.forward(ctx, normed, s.stats1, x);
    qkv.forward(ctx, s.qkv, normed);
  }
  ops::attention(ctx, s.attended, s.lse, attention_args(s.qkv, 0, s.qkv, W));
  add_branch(ctx, out, s.middle, x, s.attended, options.first_op + 1);
  if (saved) s.stats2 = keep_stats(ctx, x);
  mlp_forward(ctx, y, s.middle, saved ? &s : nullptr);
  if (saved) *saved = s;
}

void EncoderBlock::mlp_forward(Ctx& ctx, Tensor y, Tensor middle, Saved* saved) const {
  auto scope = ctx.arena.scope("mlp");
  Shape wide = middle.shape;
  wide.dim[wide.rank - 1] = options.mlp_width;
  Tensor normed = ctx.arena.temp(middle.shape, middle.dtype);
  Tensor act = saved ? ctx.arena.keep(wide, middle.dtype) : ctx.arena.temp(wide, middle.dtype);
  Tensor pre = saved ? ctx.arena.keep(wide, middle.dtype) : Tensor{};
  norm2.forward(ctx, normed, saved ? saved->stats2 : ops::NormStats{}, middle);
  up.forward(ctx, act, normed, {.activation = options.activation, .pre = pre});
  if (y) add_branch(ctx, down, y, middle, act, options.first_op + 2);
  if (saved) saved->pre = pre, saved->act = act;
}

void EncoderBlock::mlp_backward(Ctx& ctx, Tensor d, const Saved& s) const {
  auto scope = ctx.arena.scope("mlp");
  Tensor d_branch = branch_gradient(ctx, d, options.first_op + 2);
  Tensor d_pre = ctx.arena.temp(s.pre.shape, s.pre.dtype);
  down.backward(ctx, d_pre, d_branch, s.act, {.activation = options.activation, .pre = s.pre});
  Tensor normed = ctx.arena.temp(s.middle.shape, s.middle.dtype);
  norm2.forward(ctx, normed, {}, s.middle);
  Tensor d_normed = ctx.arena.temp(s.middle.shape, s.middle.dtype);
  up.backward(ctx, d_normed, d_pre, normed);
  norm2.backward(ctx, d, d_normed, s.middle, s.stats2, true);
}

void EncoderBlock::backward(Ctx& ctx, Tensor d, const Saved& s) const {
  auto scope = ctx.arena.scope("block backward");
  Arena& arena = ctx.arena;
  mlp_backward(ctx, d, s);

  Tensor d_qkv = arena.temp(s.qkv.shape, s.qkv.dtype);
  {
    auto inner = arena.scope("attention");
    Tensor d_branch = branch_gradient(ctx, d, options.first_op + 1);
    Tensor d_attended = arena.temp(s.attended.shape, s.attended.dtype);
    out.backward(ctx, d_attended, d_branch, s.attended);
    int64_t W = options.width;
    ops::attention_backward(ctx, {{d_qkv, 0}, {d_qkv, W}, {d_qkv, 2 * W}}, d_attended, s.attended, s.lse,
                            attention_args(s.qkv, 0, s.qkv, W));
  }
  Tensor normed = arena.temp(s.x.shape, s.x.dtype), d_normed = arena.temp(s.x.shape, s.x.dtype);
  norm1.forward(ctx, normed, {}, s.x);
  qkv.backward(ctx, d_normed, d_qkv, normed);
  norm1.backward(ctx, d, d_normed, s.x, s.stats1, true);
}

}  // namespace viaduct::nn

// The last block when only token 0 is read afterwards: rows that nobody reads are not computed.
#include "core/nn/encoder_block.hpp"
#include "core/ops/patch.hpp"

namespace viaduct::nn {

void EncoderBlock::forward_first_token(Ctx& ctx, Tensor y, Tensor x, Saved* saved) const {
  Arena& arena = ctx.arena;
  int64_t B = x.shape[0], T = x.shape[1], W = options.width;
  auto make = [&](Shape shape) { return saved ? arena.keep(shape, x.dtype) : arena.temp(shape, x.dtype); };

  auto scope = arena.scope("block");
  Saved s;
  s.x = x;
  if (saved) s.stats1 = keep_stats(ctx, x), s.lse = arena.keep({B, options.heads, 1}, stat_dtype(x.dtype));
  s.q = make({B, 1, W}), s.qkv = make({B, T, 2 * W}), s.attended = make({B, 1, W});
  if (saved) s.middle = arena.keep({B, W}, x.dtype);
  {
    auto inner = arena.scope("norm");
    Tensor normed = arena.temp(x.shape, x.dtype), first = arena.temp({B, W}, x.dtype);
    norm1.forward(ctx, normed, s.stats1, x);
    ops::select_token(ctx, first, normed, 0);
    qkv.rows(0, W).forward(ctx, s.q, first);
    qkv.rows(W, 3 * W).forward(ctx, s.qkv, normed);
  }
  ops::attention(ctx, s.attended, s.lse, attention_args(s.q, 0, s.qkv, 0));
  Tensor middle = saved ? s.middle : y;
  ops::select_token(ctx, middle, x, 0);
  add_branch(ctx, out, middle, middle, s.attended.reshape({B, W}), options.first_op + 1);
  if (saved) s.stats2 = keep_stats(ctx, middle);
  mlp_forward(ctx, y, middle, saved ? &s : nullptr);
  if (saved) *saved = s;
}

void EncoderBlock::backward_first_token(Ctx& ctx, Tensor d, Tensor d_first, const Saved& s) const {
  auto scope = ctx.arena.scope("block backward");
  Arena& arena = ctx.arena;
  int64_t B = s.x.shape[0], W = options.width;
  mlp_backward(ctx, d_first, s);

  Tensor d_q = arena.temp(s.q.shape, s.q.dtype), d_kv = arena.temp(s.qkv.shape, s.qkv.dtype);
  Tensor d_branch = branch_gradient(ctx, d_first, options.first_op + 1);
  Tensor d_attended = arena.temp(s.attended.shape, s.attended.dtype);
  out.backward(ctx, d_attended.reshape({B, W}), d_branch, s.attended.reshape({B, W}));
  ops::attention_backward(ctx, {{d_q, 0}, {d_kv, 0}, {d_kv, W}}, d_attended, s.attended, s.lse,
                          attention_args(s.q, 0, s.qkv, 0));

  Tensor normed = arena.temp(s.x.shape, s.x.dtype), d_normed = arena.temp(s.x.shape, s.x.dtype);
  Tensor first = arena.temp({B, W}, s.x.dtype), d_norm_first = arena.temp({B, W}, s.x.dtype);
  norm1.forward(ctx, normed, {}, s.x);
  ops::select_token(ctx, first, normed, 0);
  qkv.rows(0, W).backward(ctx, d_norm_first, d_q.reshape({B, W}), first);
  qkv.rows(W, 3 * W).backward(ctx, d_normed, d_kv, normed);
  ops::select_token_backward(ctx, d_normed, d_norm_first, 0);
  norm1.backward(ctx, d, d_normed, s.x, s.stats1, false);
  ops::select_token_backward(ctx, d, d_first, 0);
}

}  // namespace viaduct::nn

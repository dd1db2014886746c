#include "core/nn/post_norm.hpp"

namespace viaduct::nn {

PostNormOutput::PostNormOutput(ParameterStore& store, const std::string& prefix, int64_t in, const PostNormOptions& o,
                               uint32_t op)
    : dense(store, prefix + "dense", in, o.width, {true, o.stddev}),
      norm(store, prefix + "LayerNorm", o.width, o.eps),
      dropout{o.hidden_dropout, op} {}

void PostNormOutput::forward(Ctx& ctx, Tensor out, Tensor residual, Tensor x, Saved* saved) const {
  auto scope = ctx.arena.scope("post norm");
  Arena& arena = ctx.arena;
  Tensor sum = saved ? arena.keep(residual.shape, residual.dtype) : out;
  if (dropout.p == 0 || !ctx.training) {
    dense.forward(ctx, sum, x, {.residual = residual});
  } else {
    Tensor branch = saved ? sum : arena.temp(residual.shape, residual.dtype);  // without, `sum` may be the residual
    dense.forward(ctx, branch, x);
    ops::dropout(ctx, branch, branch, dropout);
    ops::add(ctx, sum, residual, branch);
  }
  if (saved) *saved = {sum, keep_stats(ctx, sum)};
  Tensor y = out ? out : arena.temp(residual.shape, residual.dtype);
  norm.forward(ctx, y, saved ? saved->stats : ops::NormStats{}, sum);
}

void PostNormOutput::backward(Ctx& ctx, Tensor d, Tensor dx, Tensor x, const Saved& s,
                              const ops::LinearInputGradOptions& options) const {
  auto scope = ctx.arena.scope("post norm");
  norm.backward(ctx, d, d, s.sum, s.stats, false);
  Tensor branch = d;
  if (dropout.p > 0 && ctx.training) {
    branch = ctx.arena.temp(d.shape, d.dtype);
    ops::dropout(ctx, branch, d, dropout);
  }
  dense.backward(ctx, dx, branch, x, options);
}

PostNormMlp::PostNormMlp(ParameterStore& store, const std::string& prefix, const PostNormOptions& o, uint32_t op)
    : up(store, prefix + "intermediate.dense", o.width, o.mlp_width, {true, o.stddev}),
      output(store, prefix + "output.", o.mlp_width, o, op),
      activation(o.activation) {}

void PostNormMlp::forward(Ctx& ctx, Tensor out, Tensor x, Saved* saved) const {
  auto scope = ctx.arena.scope("mlp");
  Shape wide = x.shape;
  wide.dim[wide.rank - 1] = up.weight.shape[0];
  Tensor act = saved ? ctx.arena.keep(wide, x.dtype) : ctx.arena.temp(wide, x.dtype);
  Tensor pre = saved ? ctx.arena.keep(wide, x.dtype) : Tensor{};
  up.forward(ctx, act, x, {.activation = activation, .pre = pre});
  output.forward(ctx, out, x, act, saved ? &saved->output : nullptr);
  if (saved) saved->pre = pre, saved->act = act;
}

void PostNormMlp::backward(Ctx& ctx, Tensor d, Tensor x, const Saved& s) const {
  auto scope = ctx.arena.scope("mlp");
  Tensor d_pre = ctx.arena.temp(s.pre.shape, s.pre.dtype);
  output.backward(ctx, d, d_pre, s.act, s.output, {.activation = activation, .pre = s.pre});
  up.backward(ctx, d, d_pre, x, {.accumulate = true});
}

}  // namespace viaduct::nn

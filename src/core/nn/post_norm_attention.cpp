#include <cmath>

#include "core/nn/post_norm.hpp"
#include "core/ops/patch.hpp"

namespace viaduct::nn {
namespace {

ops::AttentionArgs attention_args(const PostNormOptions& o, uint32_t op, ops::Heads q, Tensor kv, int64_t k_column,
                                  Tensor mask) {
  int64_t head_dim = o.width / o.heads;
  return {.q = q,
          .k = {kv, k_column},
          .v = {kv, k_column + o.width},
          .heads = o.heads,
          .head_dim = head_dim,
          .scale = 1 / std::sqrt(double(head_dim)),
          .key_mask = mask,
          .dropout = o.attention_dropout,
          .op = op};
}

// Attention of the rows of x [B, Tq, W] or [B, W] over those of y [B, Tk, W], by projections that stand apart.
struct Apart {
  LinearRows query, kv;
  const PostNormOutput& output;
  const PostNormOptions& options;
  uint32_t op;

  ops::AttentionArgs args(Tensor q, Tensor kv_rows, Tensor mask) const {
    return attention_args(options, op, {q, 0}, kv_rows, 0, mask);
  }

  void forward(Ctx& ctx, Tensor out, Tensor x, Tensor y, Tensor mask, PostNormAttentionSaved* saved) const {
    auto scope = ctx.arena.scope("attention");
    auto make = [&](Shape s) { return saved ? ctx.arena.keep(s, x.dtype) : ctx.arena.temp(s, x.dtype); };
    int64_t B = y.shape[0], W = options.width, Tq = x.shape.rank == 2 ? 1 : x.shape[1];
    Tensor q = make({B, Tq, W}), kv_rows = make({B, y.shape[1], 2 * W}), attended = make({B, Tq, W});
    Tensor lse = saved ? ctx.arena.keep({B, options.heads, Tq}, stat_dtype(x.dtype)) : Tensor{};
    query.forward(ctx, q, x);
    kv.forward(ctx, kv_rows, y);
    ops::attention(ctx, attended, lse, args(q, kv_rows, mask));
    if (saved) *saved = {q, kv_rows, attended, lse, {}};
    output.forward(ctx, out, x, attended.reshape(x.shape), saved ? &saved->output : nullptr);
  }

  void backward(Ctx& ctx, Tensor d, Tensor dy, bool accumulate, Tensor x, Tensor y, Tensor mask,
                const PostNormAttentionSaved& s) const {
    auto scope = ctx.arena.scope("attention");
    Tensor d_q = ctx.arena.temp(s.q.shape, s.q.dtype), d_kv = ctx.arena.temp(s.kv.shape, s.kv.dtype);
    {
      auto inner = ctx.arena.scope("attention");
      Tensor d_attended = ctx.arena.temp(s.attended.shape, s.attended.dtype);
      output.backward(ctx, d, d_attended.reshape(x.shape), s.attended.reshape(x.shape), s.output);
      ops::attention_backward(ctx, {{d_q, 0}, {d_kv, 0}, {d_kv, options.width}}, d_attended, s.attended, s.lse,
                              args(s.q, s.kv, mask));
    }
    query.backward(ctx, d, d_q.reshape(x.shape), x, {.accumulate = true});
    kv.backward(ctx, dy, d_kv, y, {.accumulate = accumulate});
  }
};

Apart first_token(const PostNormSelfAttention& a) {
  int64_t W = a.options.width;
  return {a.qkv.rows(0, W), a.qkv.rows(W, 3 * W), a.output, a.options, a.op};
}

Apart apart(const PostNormCrossAttention& a) { return {a.query.all(), a.kv.all(), a.output, a.options, a.op}; }

}  // namespace

PostNormSelfAttention::PostNormSelfAttention(ParameterStore& store, const std::string& prefix, const PostNormOptions& o,
                                             uint32_t op)
    : qkv(store, prefix + "self.qkv", o.width, 3 * o.width, {true, o.stddev}),
      output(store, prefix + "output.", o.width, o, op + 1),
      options(o),
      op(op) {}

void PostNormSelfAttention::forward(Ctx& ctx, Tensor out, Tensor x, Tensor mask, Saved* saved) const {
  auto scope = ctx.arena.scope("attention");
  auto make = [&](Shape s) { return saved ? ctx.arena.keep(s, x.dtype) : ctx.arena.temp(s, x.dtype); };
  int64_t B = x.shape[0], T = x.shape[1], W = options.width;
  Tensor rows = make({B, T, 3 * W}), attended = make({B, T, W});
  Tensor lse = saved ? ctx.arena.keep({B, options.heads, T}, stat_dtype(x.dtype)) : Tensor{};
  qkv.forward(ctx, rows, x);
  ops::attention(ctx, attended, lse, attention_args(options, op, {rows, 0}, rows, W, mask));
  if (saved) *saved = {{}, rows, attended, lse, {}};
  output.forward(ctx, out, x, attended, saved ? &saved->output : nullptr);
}

void PostNormSelfAttention::backward(Ctx& ctx, Tensor d, Tensor x, Tensor mask, const Saved& s) const {
  auto scope = ctx.arena.scope("attention");
  int64_t W = options.width;
  Tensor d_rows = ctx.arena.temp(s.kv.shape, s.kv.dtype);
  {
    auto inner = ctx.arena.scope("attention");
    Tensor d_attended = ctx.arena.temp(s.attended.shape, s.attended.dtype);
    output.backward(ctx, d, d_attended, s.attended, s.output);
    ops::attention_backward(ctx, {{d_rows, 0}, {d_rows, W}, {d_rows, 2 * W}}, d_attended, s.attended, s.lse,
                            attention_args(options, op, {s.kv, 0}, s.kv, W, mask));
  }
  qkv.backward(ctx, d, d_rows, x, {.accumulate = true});
}

void PostNormSelfAttention::forward_first_token(Ctx& ctx, Tensor out, Tensor x, Tensor mask, Saved* saved) const {
  auto scope = ctx.arena.scope("attention");
  Tensor first = ctx.arena.temp({x.shape[0], options.width}, x.dtype);
  ops::select_token(ctx, first, x, 0);
  first_token(*this).forward(ctx, out, first, x, mask, saved);
}

void PostNormSelfAttention::backward_first_token(Ctx& ctx, Tensor d, Tensor d_first, Tensor x, Tensor mask,
                                                 const Saved& s) const {
  auto scope = ctx.arena.scope("attention");
  Tensor first = ctx.arena.temp({x.shape[0], options.width}, x.dtype);
  ops::select_token(ctx, first, x, 0);
  first_token(*this).backward(ctx, d_first, d, false, first, x, mask, s);
  ops::select_token_backward(ctx, d, d_first, 0);
}

PostNormCrossAttention::PostNormCrossAttention(ParameterStore& store, const std::string& prefix,
                                               const PostNormOptions& o, uint32_t op)
    : query(store, prefix + "self.query", o.width, o.width, {true, o.stddev}),
      kv(store, prefix + "self.kv", o.width, 2 * o.width, {true, o.stddev}),
      output(store, prefix + "output.", o.width, o, op + 1),
      options(o),
      op(op) {}

void PostNormCrossAttention::forward(Ctx& ctx, Tensor out, Tensor x, Tensor y, Tensor y_mask, Saved* saved) const {
  apart(*this).forward(ctx, out, x, y, y_mask, saved);
}

void PostNormCrossAttention::backward(Ctx& ctx, Tensor d, Tensor dy, bool accumulate, Tensor x, Tensor y, Tensor y_mask,
                                      const Saved& s) const {
  apart(*this).backward(ctx, d, dy, accumulate, x, y, y_mask, s);
}

}  // namespace viaduct::nn

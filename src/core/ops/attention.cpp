#include "core/ops/attention.hpp"

#include "core/ops/cpu/attention.hpp"
#include "core/ops/cuda/attention.hpp"
#include "core/ops/dispatch.hpp"
#include "core/ops/operand_check.hpp"

namespace viaduct::ops {
namespace {

void check_heads(const OperandCheck& check, const char* operand, const Heads& h, const AttentionArgs& args,
                 const Shape& like) {
  const Tensor& rows = h.rows;
  check.that(rows.shape.rank == 3, "queries, keys and values are [batch, tokens, columns]", rows);
  check(operand, rows, {like[0], like[1], rows.shape[2]}, args.q.rows.dtype);
  check.that(h.column >= 0 && h.column + args.heads * args.head_dim <= rows.shape[2],
             "the heads lie inside the columns of a projection", rows);
}

void check_args(const OperandCheck& check, const AttentionArgs& a) {
  const Shape &q = a.q.rows.shape, &k = a.k.rows.shape;
  check_heads(check, "q", a.q, a, q);
  check_heads(check, "k", a.k, a, {q[0], k[1]});
  check_heads(check, "v", a.v, a, {q[0], k[1]});
  if (a.key_mask) check("key_mask", a.key_mask, {q[0], k[1]}, DType::i32);
  if (a.dropout > 0 && check.ctx.training) check("sample_keys", check.ctx.sample_keys, {q[0]}, DType::i64);
}

Shape out_shape(const AttentionArgs& a) { return {a.q.rows.shape[0], a.q.rows.shape[1], a.heads * a.head_dim}; }
Shape lse_shape(const AttentionArgs& a) { return {a.q.rows.shape[0], a.heads, a.q.rows.shape[1]}; }

}  // namespace

void attention(Ctx& ctx, Tensor out, Tensor lse, const AttentionArgs& args) {
  OperandCheck check{ctx, "attention"};
  check_args(check, args);
  check("out", out, out_shape(args), args.q.rows.dtype);
  if (lse) check("lse", lse, lse_shape(args), stat_dtype(args.q.rows.dtype));
  auto scope = ctx.arena.scope("attention");
  Shape working = of_backend(
      ctx, [&] { return cpu::attention_scratch(args); }, [&] { return cuda::attention_scratch(args); });
  Tensor scratch = ctx.arena.temp(working, stat_dtype(out.dtype));
  run_on_device(
      ctx, [&] { cpu::attention(ctx, out, lse, scratch, args); },
      [&] { cuda::attention(ctx, out, lse, scratch, args); });
}

void attention_backward(Ctx& ctx, const AttentionGrads& grads, Tensor dout, Tensor out, Tensor lse,
                        const AttentionArgs& args) {
  OperandCheck check{ctx, "attention_backward"};
  check_args(check, args);
  check_heads(check, "dq", grads.dq, args, args.q.rows.shape);
  check_heads(check, "dk", grads.dk, args, args.k.rows.shape);
  check_heads(check, "dv", grads.dv, args, args.v.rows.shape);
  check("dout", dout, out_shape(args), args.q.rows.dtype);
  check("out", out, out_shape(args), args.q.rows.dtype);
  check("lse", lse, lse_shape(args), stat_dtype(args.q.rows.dtype));
  auto scope = ctx.arena.scope("attention_backward");
  Shape working = of_backend(
      ctx, [&] { return cpu::attention_backward_scratch(args); },
      [&] { return cuda::attention_backward_scratch(args); });
  Tensor scratch = ctx.arena.temp(working, stat_dtype(out.dtype));
  run_on_device(
      ctx, [&] { cpu::attention_backward(ctx, grads, dout, out, lse, scratch, args); },
      [&] { cuda::attention_backward(ctx, grads, dout, out, lse, scratch, args); });
}

}  // namespace viaduct::ops

#include "core/ops/linear.hpp"

#include "core/ops/cpu/linear.hpp"
#include "core/ops/cuda/linear.hpp"
#include "core/ops/dispatch.hpp"
#include "core/ops/operand_check.hpp"

namespace viaduct::ops {
namespace {

// `t` with its last dimension replaced.
Shape with_columns(const Tensor& t, int64_t columns) {
  Shape s = t.shape;
  s.dim[s.rank - 1] = columns;
  return s;
}

void check_weight(const OperandCheck& check, const Tensor& weight) {
  check.that(weight.shape.rank == 2, "a weight is [out, in]", weight);
  check("weight", weight, weight.shape, weight.dtype);
}

// The results of bf16 products may be wanted in fp32 (logits), and so may their gradients come.
DType product_dtype(const Tensor& t, DType weight) {
  return weight == DType::bf16 && t.dtype == DType::f32 ? DType::f32 : weight;
}

}  // namespace

void linear(Ctx& ctx, Tensor y, Tensor x, Tensor weight, const LinearOptions& o) {
  OperandCheck check{ctx, "linear"};
  check_weight(check, weight);
  int64_t out = weight.shape[0], in = weight.shape[1];
  check("x", x, with_columns(x, in), weight.dtype);
  check.same_size("y", y, Tensor{nullptr, with_columns(x, out), product_dtype(y, weight.dtype), ctx.device()});
  if (o.bias) check("bias", o.bias, {out}, weight.dtype);
  if (o.pre) check.same_size("pre", o.pre, y);
  if (o.residual) check.same_size("residual", o.residual, y);
  check.that(!o.residual || (o.activation == Activation::none && !o.pre), "an activation goes without a residual", y);
  run_or_plan(
      ctx, [&] { cpu::linear(ctx, y, x, weight, o); }, [&] { cuda::linear(ctx, y, x, weight, o); });
}

void linear_input_grad(Ctx& ctx, Tensor dx, Tensor dy, Tensor weight, const LinearInputGradOptions& o) {
  OperandCheck check{ctx, "linear_input_grad"};
  check_weight(check, weight);
  check("dy", dy, with_columns(dy, weight.shape[0]), product_dtype(dy, weight.dtype));
  check.same_size("dx", dx, Tensor{nullptr, with_columns(dy, weight.shape[1]), weight.dtype, ctx.device()});
  bool activated = o.activation != Activation::none;
  check.that(activated == bool(o.pre), "an activation and its input come together", o.pre);
  if (activated) check.same_size("pre", o.pre, dx);
  check.that(!o.accumulate || !activated, "an activation goes with dx =, not dx +=", dx);
  run_or_plan(
      ctx, [&] { cpu::linear_input_grad(ctx, dx, dy, weight, o); },
      [&] { cuda::linear_input_grad(ctx, dx, dy, weight, o); });
}

void linear_weight_grad(Ctx& ctx, Tensor dweight, Tensor dbias, Tensor dy, Tensor x) {
  OperandCheck check{ctx, "linear_weight_grad"};
  int64_t out = dy.shape.last(), in = x.shape.last();
  check("x", x, x.shape, x.dtype);
  check("dy", dy, with_columns(dy, out), product_dtype(dy, x.dtype));
  check.that(dy.shape.rows() == x.shape.rows(), "dy and x have the same rows", dy);
  check("dweight", dweight, {out, in}, stat_dtype(x.dtype));
  if (dbias) check("dbias", dbias, {out}, stat_dtype(x.dtype));
  run_or_plan(
      ctx, [&] { cpu::linear_weight_grad(ctx, dweight, dbias, dy, x); },
      [&] { cuda::linear_weight_grad(ctx, dweight, dbias, dy, x); });
}

}  // namespace viaduct::ops

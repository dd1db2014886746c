#include "core/ops/cuda/linear.hpp"

#include "core/ops/cuda/column_sums.hpp"
#include "core/ops/cuda/elementwise.hpp"
#include "core/ops/cuda/product.hpp"

namespace viaduct::ops::cuda {
namespace {

// `t` in another dtype: itself, or a copy in working memory.
Tensor as_dtype(Ctx& ctx, Tensor t, DType dtype) {
  if (t.dtype == dtype) return t;
  Tensor converted = ctx.arena.temp(t.shape, dtype);
  if (!ctx.device().is_meta() && t.numel() > 0) copy(ctx, converted, t);
  return converted;
}

}  // namespace

void linear(Ctx& ctx, Tensor y, Tensor x, Tensor weight, const LinearOptions& o) {
  auto scope = ctx.arena.scope("linear");
  multiply(ctx, {.d = y,
                 .left = x,
                 .right = weight,
                 .right_transposed = true,
                 .added = o.residual,
                 .bias = o.bias,
                 .activation = o.activation,
                 .pre = o.pre});
}

void linear_input_grad(Ctx& ctx, Tensor dx, Tensor dy, Tensor weight, const LinearInputGradOptions& o) {
  auto scope = ctx.arena.scope("linear_input_grad");
  multiply(ctx, {.d = dx,
                 .left = as_dtype(ctx, dy, weight.dtype),
                 .right = weight,
                 .added = o.accumulate ? dx : Tensor{},
                 .activation = o.activation,
                 .pre = o.pre,
                 .slope = o.activation != Activation::none});
}

void linear_weight_grad(Ctx& ctx, Tensor dweight, Tensor dbias, Tensor dy, Tensor x) {
  auto scope = ctx.arena.scope("linear_weight_grad");
  bool as_is = dy.dtype == x.dtype;
  multiply(ctx, {.d = dweight,
                 .left = as_dtype(ctx, dy, x.dtype),
                 .right = x,
                 .left_transposed = true,
                 .added = dweight,
                 .left_sums = as_is ? dbias : Tensor{}});
  if (!dbias || as_is) return;  // else it is summed before it was rounded
  Tensor memory = column_sums_memory(ctx.arena, dy);
  if (!ctx.device().is_meta()) add_column_sums(ctx, dbias, dy, memory);
}

}  // namespace viaduct::ops::cuda

#include "core/ops/elementwise.hpp"

#include "core/ops/cpu/elementwise.hpp"
#include "core/ops/cuda/elementwise.hpp"
#include "core/ops/dispatch.hpp"
#include "core/ops/operand_check.hpp"

namespace viaduct::ops {

void activation(Ctx& ctx, Tensor y, Tensor x, Activation a) {
  OperandCheck{ctx, "activation"}.same_size("y", y, x);
  run_on_device(
      ctx, [&] { cpu::activation(y, x, a); }, [&] { cuda::activation(ctx, y, x, a); });
}

void activation_backward(Ctx& ctx, Tensor dx, Tensor dy, Tensor x, Activation a) {
  OperandCheck check{ctx, "activation_backward"};
  check.same_size("dx", dx, x);
  check.same_size("dy", dy, x);
  run_on_device(
      ctx, [&] { cpu::activation_backward(dx, dy, x, a); }, [&] { cuda::activation_backward(ctx, dx, dy, x, a); });
}

void add(Ctx& ctx, Tensor y, Tensor a, Tensor b) {
  OperandCheck check{ctx, "add"};
  check.same_size("y", y, a);
  check.same_size("b", b, a);
  run_on_device(
      ctx, [&] { cpu::add(y, a, b); }, [&] { cuda::add(ctx, y, a, b); });
}

void copy(Ctx& ctx, Tensor y, Tensor x) {
  OperandCheck{ctx, "copy"}.same_size("y", y, x, y.dtype);
  run_on_device(
      ctx, [&] { cpu::copy(y, x); }, [&] { cuda::copy(ctx, y, x); });
}

void fill(Ctx& ctx, Tensor y, double value) {
  OperandCheck{ctx, "fill"}.same_size("y", y, y);
  run_on_device(
      ctx, [&] { cpu::fill(y, value); }, [&] { cuda::fill(ctx, y, value); });
}

void dropout(Ctx& ctx, Tensor y, Tensor x, DropoutOptions options) {
  OperandCheck check{ctx, "dropout"};
  check.same_size("y", y, x);
  if (!ctx.training || options.p == 0) {
    if (y.data != x.data || ctx.device().is_meta()) copy(ctx, y, x);
    return;
  }
  check.that(options.p > 0 && options.p < 1, "the probability lies in [0, 1)", x);
  check("ctx.sample_keys", ctx.sample_keys, {x.shape[0]}, DType::i64);
  run_on_device(
      ctx, [&] { cpu::dropout(y, x, ctx.sample_keys, options); }, [&] { cuda::dropout(ctx, y, x, options); });
}

}  // namespace viaduct::ops

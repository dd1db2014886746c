#include "core/ops/update.hpp"

#include "core/base/range.hpp"
#include "core/ops/cpu/update.hpp"
#include "core/ops/cuda/update.hpp"
#include "core/ops/dispatch.hpp"
#include "core/ops/operand_check.hpp"
#include "core/ops/step_tail.hpp"

namespace viaduct::ops {

void squared_norm(Ctx& ctx, Tensor out, Tensor x) {
  auto scope = ctx.arena.scope("squared_norm");
  Tensor sums = ctx.arena.temp({ceil_div(x.numel(), kNormChunk)}, DType::f64);
  squared_norm_chunks(ctx, sums, x);
  sum_in_order(ctx, out, sums);
}

void squared_norm_chunks(Ctx& ctx, Tensor out, Tensor x) {
  OperandCheck check{ctx, "squared_norm_chunks"};
  check("out", out, {ceil_div(x.numel(), kNormChunk)}, DType::f64);
  check.that(x.dtype == DType::f32 || x.dtype == DType::f64, "x is fp32 or fp64", x);
  run_on_device(
      ctx, [&] { cpu::squared_norm_chunks(out, x); }, [&] { cuda::squared_norm_chunks(ctx, out, x); });
}

void sum_in_order(Ctx& ctx, Tensor out, Tensor sums) {
  OperandCheck check{ctx, "sum_in_order"};
  check("out", out, {1}, DType::f64);
  check.that(sums.dtype == DType::f64, "sums are fp64", sums);
  run_on_device(
      ctx, [&] { cpu::sum_in_order(out, sums); }, [&] { cuda::sum_in_order(ctx, out, sums); });
}

void clip(Ctx& ctx, Tensor scalars, Tensor squared_norm, Tensor sums) {
  OperandCheck check{ctx, "clip"};
  check("scalars", scalars, {step_scalar::count}, DType::f64);
  check("squared_norm", squared_norm, {1}, DType::f64);
  check("sums", sums, {step_sum::count}, DType::f64);
  run_on_device(
      ctx, [&] { cpu::clip(scalars, squared_norm, sums); }, [&] { cuda::clip(ctx, scalars, squared_norm, sums); });
}

void adamw(Ctx& ctx, const AdamWArgs& a) {
  OperandCheck check{ctx, "adamw"};
  DType state = stat_dtype(a.value.dtype);
  check.same_size("master", a.master, a.value, state);
  check.same_size("m", a.m, a.value, state);
  check.same_size("v", a.v, a.value, state);
  check.same_size("grad", a.grad, a.value, state);
  check("scalars", a.scalars, {step_scalar::count}, DType::f64);
  check.that(a.value.dtype == DType::bf16 || a.value.data == a.master.data, "master is the value itself", a.master);
  run_on_device(
      ctx, [&] { cpu::adamw(a); }, [&] { cuda::adamw(ctx, a); });
}

void moving_average(Ctx& ctx, Tensor average, Tensor values, Tensor scalars) {
  OperandCheck check{ctx, "moving_average"};
  check.same_size("values", values, average, stat_dtype(average.dtype));
  check("scalars", scalars, {step_scalar::count}, DType::f64);
  run_on_device(
      ctx, [&] { cpu::moving_average(average, values, scalars); },
      [&] { cuda::moving_average(ctx, average, values, scalars); });
}

void exchange(Ctx& ctx, Tensor a, Tensor b) {
  OperandCheck check{ctx, "exchange"};
  check.same_size("b", b, a, stat_dtype(a.dtype));
  run_on_device(
      ctx, [&] { cpu::exchange(a, b); }, [&] { cuda::exchange(ctx, a, b); });
}

}  // namespace viaduct::ops

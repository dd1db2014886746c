#include "core/ops/distillation.hpp"

#include "core/ops/cpu/distillation.hpp"
#include "core/ops/cuda/distillation.hpp"
#include "core/ops/dispatch.hpp"
#include "core/ops/operand_check.hpp"

namespace viaduct::ops {

void distillation_kl(Ctx& ctx, Tensor losses, Tensor dlogits, Tensor logits, Tensor teacher, DistillationKl o) {
  OperandCheck check{ctx, "distillation_kl"};
  check.that(logits.shape.rank == 2 && logits.shape[1] > 0, "logits are [B, C]", logits);
  check("teacher", teacher, logits.shape, logits.dtype);
  check.that(o.temperature > 0, "the temperature is above 0", logits);
  if (losses) check("losses", losses, {logits.shape[0]}, stat_dtype(logits.dtype));
  if (dlogits) check("dlogits", dlogits, logits.shape, logits.dtype);
  run_on_device(
      ctx, [&] { cpu::distillation_kl(losses, dlogits, logits, teacher, o); },
      [&] { cuda::distillation_kl(ctx, losses, dlogits, logits, teacher, o); });
}

void squared_error(Ctx& ctx, Tensor losses, Tensor dx, Tensor x, Tensor target, double weight) {
  OperandCheck check{ctx, "squared_error"};
  check.that(x.shape.rank >= 2, "x is [B, ..]", x);
  check("target", target, x.shape, x.dtype);
  if (losses) check("losses", losses, {x.shape[0]}, stat_dtype(x.dtype));
  if (dx) check("dx", dx, x.shape, x.dtype);
  run_on_device(
      ctx, [&] { cpu::squared_error(losses, dx, x, target, weight); },
      [&] { cuda::squared_error(ctx, losses, dx, x, target, weight); });
}

void argmax(Ctx& ctx, Tensor labels, Tensor logits) {
  OperandCheck check{ctx, "argmax"};
  check.that(logits.shape.rank == 2 && logits.shape[1] > 0, "logits are [B, C]", logits);
  check("labels", labels, {logits.shape[0]}, DType::i32);
  run_on_device(
      ctx, [&] { cpu::argmax(labels, logits); }, [&] { cuda::argmax(ctx, labels, logits); });
}

}  // namespace viaduct::ops

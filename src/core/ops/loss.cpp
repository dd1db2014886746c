#include "core/ops/loss.hpp"

#include "core/ops/cpu/loss.hpp"
#include "core/ops/cuda/loss.hpp"
#include "core/ops/dispatch.hpp"
#include "core/ops/operand_check.hpp"

namespace viaduct::ops {

void cross_entropy(Ctx& ctx, Tensor losses, Tensor dlogits, Tensor logits, Tensor labels, double weight) {
  OperandCheck check{ctx, "cross_entropy"};
  check.that(logits.shape.rank == 2 && logits.shape[1] > 0, "logits are [B, C]", logits);
  check("losses", losses, {logits.shape[0]}, stat_dtype(logits.dtype));
  check("labels", labels, {logits.shape[0]}, DType::i32);
  if (dlogits) check("dlogits", dlogits, logits.shape, logits.dtype);
  run_on_device(
      ctx, [&] { cpu::cross_entropy(losses, dlogits, logits, labels, weight); },
      [&] { cuda::cross_entropy(ctx, losses, dlogits, logits, labels, weight); });
}

void soft_cross_entropy(Ctx& ctx, Tensor losses, Tensor dlogits, Tensor logits, const SoftLabels& soft) {
  OperandCheck check{ctx, "soft_cross_entropy"};
  check.that(logits.shape.rank == 2 && logits.shape[1] > 0, "logits are [B, C]", logits);
  check("losses", losses, {logits.shape[0]}, stat_dtype(logits.dtype));
  check("labels", soft.labels, {logits.shape[0]}, DType::i32);
  check.that(bool(soft.others) == bool(soft.shares), "others and shares come together", soft.shares);
  if (soft.others) check("others", soft.others, {logits.shape[0]}, DType::i32);
  if (soft.shares) check("shares", soft.shares, {logits.shape[0]}, stat_dtype(logits.dtype));
  if (dlogits) check("dlogits", dlogits, logits.shape, logits.dtype);
  run_on_device(
      ctx, [&] { cpu::soft_cross_entropy(losses, dlogits, logits, soft); },
      [&] { cuda::soft_cross_entropy(ctx, losses, dlogits, logits, soft); });
}

void softmax(Ctx& ctx, Tensor probabilities, Tensor logits) {
  OperandCheck check{ctx, "softmax"};
  check.that(logits.shape.rank == 2 && logits.shape[1] > 0, "logits are [B, C]", logits);
  check("probabilities", probabilities, logits.shape, stat_dtype(logits.dtype));
  run_on_device(
      ctx, [&] { cpu::softmax(probabilities, logits); }, [&] { cuda::softmax(ctx, probabilities, logits); });
}

}  // namespace viaduct::ops

#include "train/distillation_loss.hpp"

#include "core/ops/distillation.hpp"
#include "core/ops/elementwise.hpp"
#include "core/ops/loss.hpp"

namespace viaduct {
namespace {

void add_hard(Ctx& ctx, double weight, Tensor losses, Tensor d_logits, Tensor logits, Tensor teacher) {
  auto scope = ctx.arena.scope("hard");
  Tensor answers = ctx.arena.temp(losses.shape, DType::i32), own = ctx.arena.temp(losses.shape, losses.dtype);
  Tensor d = ctx.arena.temp(logits.shape, logits.dtype);
  ops::argmax(ctx, answers, teacher);
  ops::cross_entropy(ctx, own, d, logits, answers, weight);
  ops::add(ctx, losses, losses, own), ops::add(ctx, d_logits, d_logits, d);
}

}  // namespace

void add_teacher_losses(Ctx& ctx, const DistillationChoice& choice, Tensor losses, Tensor d_logits, Tensor logits,
                        Tensor teacher) {
  const double T = choice.temperature, classes = double(logits.shape[1]);
  const double kl = T * T * (choice.soft + choice.deit_soft / classes);
  if (kl > 0) ops::distillation_kl(ctx, losses, d_logits, logits, teacher, {.temperature = T, .weight = kl});
  if (choice.mse > 0) ops::squared_error(ctx, losses, d_logits, logits, teacher, choice.mse / classes);
  if (choice.deit_hard > 0) add_hard(ctx, choice.deit_hard, losses, d_logits, logits, teacher);
}

}  // namespace viaduct

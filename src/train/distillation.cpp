#include "train/distillation.hpp"

#include "core/ops/loss.hpp"
#include "train/distillation_loss.hpp"

namespace viaduct {

DistillationTask::DistillationTask(const ModelSource& student, const DistillationChoice& choice, bool recompute)
    : choice_(choice), student_(vit(student.config), student.normalization(), recompute), teacher_(*student.teacher) {}

void DistillationTask::train(Ctx& ctx, const Batch& batch, GradSink& sink) {
  auto scope = ctx.arena.scope("step");
  ctx.enter(Phase::forward);
  Tensor answers = teacher_.logits(ctx, batch.pixels);
  VitClassifier& student = student_.model();
  VitClassifier::Saved saved;
  Tensor logits = student.forward(ctx, &sink, batch.pixels, &saved);
  Tensor d_logits = ctx.arena.temp(logits.shape, logits.dtype);
  Tensor losses = ctx.arena.temp({batch.size()}, stat_dtype(ctx.dtype));
  ops::cross_entropy(ctx, losses, d_logits, logits, batch.labels, choice_.label);
  add_teacher_losses(ctx, choice_, losses, d_logits, logits, answers);
  sink.add_loss(losses, batch.size());
  ctx.enter(Phase::backward);
  student.backward(ctx, sink, d_logits, saved);
}

double DistillationTask::flops(bool with_backward, bool executed) const {
  return student_.flops(with_backward, executed) + (with_backward ? teacher_.model().flops(false) : 0);
}

std::string lessons(const Config& config, const Teacher& teacher) {
  return fmt::format("{} of teacher {}", choose_distillation(config).text(), teacher.hash());
}

}  // namespace viaduct

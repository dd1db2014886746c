#include "train/distillation.hpp"

#include <algorithm>

#include "core/ops/elementwise.hpp"
#include "core/ops/loss.hpp"
#include "train/distillation_loss.hpp"

namespace viaduct {
namespace {

// Whether a pair has this layer of student or teacher, which is the last.
bool looks_at(const DistillationChoice& choice, int64_t LayerPair::*whose, int64_t last) {
  return std::any_of(choice.layers.begin(), choice.layers.end(), [&](const LayerPair& p) { return p.*whose == last; });
}

}  // namespace

DistillationTask::DistillationTask(const ModelSource& student, const DistillationChoice& choice, bool recompute,
                                   bool cached)
    : choice_(choice),
      student_(vit(student.config), student.normalization(),
               {.recompute = recompute,
                .whole_last = looks_at(choice, &LayerPair::student, vit(student.config).num_hidden_layers)}),
      teacher_(*student.teacher,
               {.whole_last = looks_at(choice, &LayerPair::teacher, vit(student.teacher->config).num_hidden_layers),
                .cached = cached}),
      teacher_flops_(teacher_.model().flops(false)) {
  if (choice.feature > 0)
    features_.emplace(student_.parameters(), choice.layers, vit(student.config).hidden_size,
                      vit(student.teacher->config).hidden_size, choice.feature);
}

void DistillationTask::train(Ctx& ctx, const Batch& batch, GradSink& sink) {
  auto scope = ctx.arena.scope("step");
  const Arena::Mark start = ctx.arena.mark();
  ctx.enter(Phase::forward);
  std::vector<Tensor> targets(choice_.layers.size());
  auto keep_targets = [&](int64_t layer, Tensor x) {
    for (size_t p = 0; p < targets.size(); ++p)
      if (choice_.layers[p].teacher == layer)
        targets[p] = ctx.arena.keep(x.shape, x.dtype), ops::copy(ctx, targets[p], x);
  };
  const Tensor answers = teacher_.answers(ctx, batch, features_ ? Vit::Look(keep_targets) : Vit::Look());

  VitClassifier& student = student_.model();
  VitClassifier::Saved saved;
  const VitClassifier::Logits logits = student.forward(ctx, &sink, batch.pixels, &saved);
  VitClassifier::Logits d{.label = ctx.arena.temp(logits.label.shape, ctx.dtype)};
  Tensor losses = ctx.arena.temp({batch.size()}, stat_dtype(ctx.dtype));
  ops::cross_entropy(ctx, losses, d.label, logits.label, batch.labels, choice_.label);
  if (logits.distilled) d.distilled = ctx.arena.temp(d.label.shape, ctx.dtype), ops::fill(ctx, d.distilled, 0);
  const bool apart = bool(logits.distilled);
  add_teacher_losses(ctx, choice_, losses, apart ? d.distilled : d.label, apart ? logits.distilled : logits.label,
                     answers);
  if (features_) features_->forward(ctx, sink, losses, saved.vit.outputs, targets);
  sink.add_loss(losses, batch.size());

  ctx.enter(Phase::backward);
  auto add_features = [&](int64_t layer, Tensor d_layer) {
    features_->backward(ctx, sink, layer, d_layer, saved.vit.outputs, targets);
  };
  student.backward(ctx, sink, d, saved, features_ ? Vit::AddGradient(add_features) : Vit::AddGradient());
  ctx.arena.release(start);
}

double DistillationTask::flops(bool with_backward, bool executed) const {
  return student_.flops(with_backward, executed) + (with_backward ? teacher_flops_ : 0);
}

MakeTask student_maker(const ModelSource& student, const Config& config) {
  DistillationChoice choice = choose_distillation(config);
  if (choice.feature > 0)
    choice.layers =
        layer_pairs(config, vit(student.config).num_hidden_layers, vit(student.teacher->config).num_hidden_layers);
  return [=, recompute = config.train.recompute, cached = !config.task.cache.empty()]() -> std::unique_ptr<Task> {
    return std::make_unique<DistillationTask>(student, choice, recompute, cached);
  };
}

std::string lessons(const Config& config, const Teacher& teacher) {
  const DistillationChoice choice = choose_distillation(config);
  std::string kept;
  if (config.task.cache_top_k) kept += fmt::format(", {} logits", config.task.cache_top_k);
  if (config.task.cache_precision != "exact") kept += fmt::format(" in {}", config.task.cache_precision);
  return fmt::format("{}{}{} of teacher {}", choice.text(), choice.feature > 0 ? ", layers " + config.task.layers : "",
                     kept, teacher.hash());
}

}  // namespace viaduct

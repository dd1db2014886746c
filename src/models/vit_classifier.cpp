#include "models/vit_classifier.hpp"

#include "core/ops/bridge.hpp"
#include "core/ops/loss.hpp"

namespace viaduct {

VitClassifier::VitClassifier(const VitConfig& config, const ops::Normalization& normalization, VitOptions options,
                             double label_smoothing)
    : config_(config), normalization_(normalization), vit_(store_, config, options), label_smoothing_(label_smoothing) {
  const bool two = config.distillation_token;
  classifier_range_ = store_.block("classifier", [&] {
    const nn::Linear::Options o{true, float(config.initializer_range)};
    classifier_.emplace(store_, two ? "cls_classifier" : "classifier", config.hidden_size, config.classes(), o);
    if (two) distilled_classifier_.emplace(store_, "distillation_classifier", config.hidden_size, config.classes(), o);
  });
}

VitClassifier::Logits VitClassifier::forward(Ctx& ctx, GradSink* sink, Tensor pixels, Saved* saved,
                                             const Vit::Look& look) const {
  const int64_t B = pixels.shape[0];
  Logits logits{.label = ctx.arena.temp({B, config_.classes()}, ctx.dtype)};
  if (distilled_classifier_) logits.distilled = ctx.arena.temp(logits.label.shape, ctx.dtype);
  auto scope = ctx.arena.scope("forward");
  if (saved) saved->start = ctx.arena.mark();
  Tensor features = vit_.forward(ctx, sink, pixels, normalization_, saved ? &saved->vit : nullptr, look);
  if (sink) sink->need(classifier_range_);
  classifier_->forward(ctx, logits.label, features.slice(0, B));
  if (distilled_classifier_) distilled_classifier_->forward(ctx, logits.distilled, features.slice(B, 2 * B));
  if (saved) saved->features = features;
  return logits;
}

Tensor VitClassifier::forward(Ctx& ctx, Tensor pixels) const {
  const Logits logits = forward(ctx, nullptr, pixels, nullptr);
  if (!logits.distilled) return logits.label;
  auto scope = ctx.arena.scope("mean");
  Tensor half = ctx.arena.temp({1}, ctx.dtype);
  ops::fill(ctx, half, 0.5);
  ops::bridge(ctx, logits.label, logits.label, logits.distilled, half, ops::Bridge::interpolate);
  return logits.label;
}

void VitClassifier::backward(Ctx& ctx, GradSink& sink, const Logits& d, const Saved& saved,
                             const Vit::AddGradient& add) {
  auto scope = ctx.arena.scope("backward");
  const int64_t B = d.label.shape[0];
  const Tensor& features = saved.features;
  Tensor d_features = ctx.arena.temp(features.shape, features.dtype);
  store_.open(classifier_range_, sink);
  classifier_->backward(ctx, d_features.slice(0, B), d.label, features.slice(0, B));
  if (distilled_classifier_)
    distilled_classifier_->backward(ctx, d_features.slice(B, 2 * B), d.distilled, features.slice(B, 2 * B));
  sink.ready(classifier_range_);
  vit_.backward(ctx, sink, d_features, normalization_, saved.vit, add);
  ctx.arena.release(saved.start);
}

void VitClassifier::train(Ctx& ctx, const Batch& batch, GradSink& sink) {
  auto scope = ctx.arena.scope("step");
  Saved saved;
  ctx.enter(Phase::forward);
  Tensor logits = forward(ctx, &sink, batch.pixels, &saved).label;
  Tensor losses = ctx.arena.temp({batch.size()}, stat_dtype(ctx.dtype));
  if (batch.shares || label_smoothing_ > 0)
    ops::soft_cross_entropy(ctx, losses, logits, logits,
                            {batch.labels, batch.other_labels, batch.shares, label_smoothing_});
  else
    ops::cross_entropy(ctx, losses, logits, logits, batch.labels);
  sink.add_loss(losses, batch.size());
  ctx.enter(Phase::backward);
  backward(ctx, sink, {.label = logits}, saved);
}

double VitClassifier::flops(bool with_backward) const {
  double W = double(config_.hidden_size), T = double(config_.tokens()), I = double(config_.intermediate_size);
  double G = double(config_.grid() * config_.grid()), P = double(config_.patch_size), C = double(config_.classes());
  double patch = 2 * G * 3 * P * P * W, block = 8 * T * W * W + 4 * T * T * W + 4 * T * W * I;
  double forward = patch + double(config_.num_hidden_layers) * block + 2 * W * C * double(config_.special_tokens());
  return with_backward ? 3 * forward - patch : forward;  // the image needs no gradient
}

}  // namespace viaduct

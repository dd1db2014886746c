#include "models/vit_classifier.hpp"

#include "core/ops/loss.hpp"

namespace viaduct {

VitClassifier::VitClassifier(const VitConfig& config, const ops::Normalization& normalization, bool recompute)
    : config_(config), normalization_(normalization), vit_(store_, config, recompute) {
  classifier_range_ = store_.block("classifier", [&] {
    classifier_.emplace(store_, "classifier", config.hidden_size, config.classes(),
                        nn::Linear::Options{true, float(config.initializer_range)});
  });
}

Tensor VitClassifier::forward(Ctx& ctx, GradSink* sink, Tensor pixels, Saved* saved) const {
  Tensor logits = ctx.arena.temp({pixels.shape[0], config_.classes()}, ctx.dtype);
  auto scope = ctx.arena.scope("forward");
  if (saved) saved->start = ctx.arena.mark();
  Tensor features = vit_.forward(ctx, sink, pixels, normalization_, saved ? &saved->vit : nullptr);
  if (sink) sink->need(classifier_range_);
  classifier_->forward(ctx, logits, features);
  if (saved) saved->features = features;
  return logits;
}

void VitClassifier::backward(Ctx& ctx, GradSink& sink, Tensor d_logits, const Saved& saved) {
  auto scope = ctx.arena.scope("backward");
  Tensor d_features = ctx.arena.temp(saved.features.shape, saved.features.dtype);
  store_.open(classifier_range_, sink);
  classifier_->backward(ctx, d_features, d_logits, saved.features);
  sink.ready(classifier_range_);
  vit_.backward(ctx, sink, d_features, normalization_, saved.vit);
  ctx.arena.release(saved.start);
}

void VitClassifier::train(Ctx& ctx, const Batch& batch, GradSink& sink) {
  auto scope = ctx.arena.scope("step");
  Saved saved;
  ctx.enter(Phase::forward);
  Tensor logits = forward(ctx, &sink, batch.pixels, &saved);
  Tensor losses = ctx.arena.temp({batch.size()}, stat_dtype(ctx.dtype));
  ops::cross_entropy(ctx, losses, logits, logits, batch.labels);
  sink.add_loss(losses, batch.size());
  ctx.enter(Phase::backward);
  backward(ctx, sink, logits, saved);
}

double VitClassifier::flops(bool with_backward) const {
  double W = double(config_.hidden_size), T = double(config_.tokens()), I = double(config_.intermediate_size);
  double G = T - 1, P = double(config_.patch_size), C = double(config_.classes());
  double patch = 2 * G * 3 * P * P * W, block = 8 * T * W * W + 4 * T * T * W + 4 * T * W * I;
  double forward = patch + double(config_.num_hidden_layers) * block + 2 * W * C;
  return with_backward ? 3 * forward - patch : forward;  // the image needs no gradient
}

}  // namespace viaduct

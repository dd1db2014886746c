#include "models/vit_classifier.hpp"

#include "core/ops/loss.hpp"

namespace viaduct {

VitClassifier::VitClassifier(const VitConfig& config, const ops::Normalization& normalization, bool recompute,
                             double label_smoothing)
    : config_(config),
      normalization_(normalization),
      vit_(store_, config, recompute),
      label_smoothing_(label_smoothing) {
  classifier_range_ = store_.block("classifier", [&] {
    classifier_.emplace(store_, "classifier", config.hidden_size, config.classes(),
                        nn::Linear::Options{true, float(config.initializer_range)});
  });
}

Tensor VitClassifier::forward(Ctx& ctx, Tensor pixels) const {
  Tensor logits = ctx.arena.temp({pixels.shape[0], config_.classes()}, ctx.dtype);
  auto scope = ctx.arena.scope("forward");
  Tensor features = vit_.forward(ctx, nullptr, pixels, normalization_, nullptr);
  classifier_->forward(ctx, logits, features);
  return logits;
}

void VitClassifier::train(Ctx& ctx, const Batch& batch, GradSink& sink) {
  Arena::Mark start = ctx.arena.mark();
  auto scope = ctx.arena.scope("step");
  int64_t B = batch.size();
  Vit::Saved saved;
  ctx.enter(Phase::forward);
  Tensor features = vit_.forward(ctx, &sink, batch.pixels, normalization_, &saved);
  sink.need(classifier_range_);
  Tensor logits = ctx.arena.temp({B, config_.classes()}, ctx.dtype);
  Tensor losses = ctx.arena.temp({B}, stat_dtype(ctx.dtype));
  classifier_->forward(ctx, logits, features);
  if (batch.shares || label_smoothing_ > 0)
    ops::soft_cross_entropy(ctx, losses, logits, logits,
                            {batch.labels, batch.other_labels, batch.shares, label_smoothing_});
  else
    ops::cross_entropy(ctx, losses, logits, logits, batch.labels);
  sink.add_loss(losses, B);

  ctx.enter(Phase::backward);
  Tensor d_features = ctx.arena.temp(features.shape, features.dtype);
  store_.open(classifier_range_, sink);
  classifier_->backward(ctx, d_features, logits, features);
  sink.ready(classifier_range_);
  vit_.backward(ctx, sink, d_features, normalization_, saved);
  ctx.arena.release(start);
}

double VitClassifier::flops(bool with_backward) const {
  double W = double(config_.hidden_size), T = double(config_.tokens()), I = double(config_.intermediate_size);
  double G = T - 1, P = double(config_.patch_size), C = double(config_.classes());
  double patch = 2 * G * 3 * P * P * W, block = 8 * T * W * W + 4 * T * T * W + 4 * T * W * I;
  double forward = patch + double(config_.num_hidden_layers) * block + 2 * W * C;
  return with_backward ? 3 * forward - patch : forward;  // the image needs no gradient
}

}  // namespace viaduct

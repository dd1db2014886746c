#include "models/bridgetower_heads.hpp"

#include "core/ops/contrastive.hpp"
#include "core/ops/rows.hpp"
#include "models/activation_name.hpp"

namespace viaduct {
namespace {

float stddev_of(const BridgeTowerConfig& c) { return float(BridgeTowerConfig::kStddev * c.initializer_factor); }

Tensor temp_like(Ctx& ctx, const Tensor& t) { return ctx.arena.temp(t.shape, t.dtype); }

}  // namespace

Poolers::Poolers(PassBlocks& blocks, const BridgeTowerConfig& c, Passes reached_by, bool frozen) {
  range_ = blocks.add("bridgetower.cross_modal_poolers", reached_by, frozen, [&] {
    int64_t H = c.hidden_size;
    text_.emplace(blocks.store(), "bridgetower.cross_modal_text_pooler.", H, H, stddev_of(c));
    image_.emplace(blocks.store(), "bridgetower.cross_modal_image_pooler.", H, H, stddev_of(c));
  });
}

void Poolers::forward(Ctx& ctx, BlockReports& reports, Tensor pooled, Tensor text_first, Tensor image_first,
                      Saved* saved) const {
  auto scope = ctx.arena.scope("poolers");
  reports.need(range_);
  Tensor text = temp_like(ctx, text_first), image = temp_like(ctx, image_first);
  text_->forward(ctx, text, text_first, saved ? &saved->text : nullptr);
  image_->forward(ctx, image, image_first, saved ? &saved->image : nullptr);
  ops::join_columns(ctx, pooled, text, image);
}

void Poolers::backward(Ctx& ctx, BlockReports& reports, Tensor d_text_first, Tensor d_image_first, Tensor d_pooled,
                       const Saved& saved) const {
  auto scope = ctx.arena.scope("poolers");
  reports.open(range_);
  Tensor d_text = temp_like(ctx, d_text_first), d_image = temp_like(ctx, d_image_first);
  ops::split_columns(ctx, d_text, d_image, d_pooled);
  image_->backward(ctx, d_image_first, d_image, saved.image);
  text_->backward(ctx, d_text_first, d_text, saved.text);
  reports.ready(range_);
}

ItmHead::ItmHead(PassBlocks& blocks, const BridgeTowerConfig& c, Passes reached_by) {
  range_ = blocks.add("itm_score", reached_by, false, [&] {
    fc_.emplace(blocks.store(), "itm_score.fc", 2 * c.hidden_size, 2, nn::Linear::Options{true, stddev_of(c)});
  });
}

void ItmHead::forward(Ctx& ctx, BlockReports& reports, Tensor logits, Tensor pooled) const {
  reports.need(range_);
  fc_->forward(ctx, logits, pooled);
}

void ItmHead::backward(Ctx& ctx, BlockReports& reports, Tensor d_pooled, Tensor d_logits, Tensor pooled) const {
  reports.open(range_);
  fc_->backward(ctx, d_pooled, d_logits, pooled);
  reports.ready(range_);
}

ItcHeads::ItcHeads(PassBlocks& blocks, const BridgeTowerConfig& c, Passes reached_by) {
  ParameterStore& store = blocks.store();
  const int64_t H = c.hidden_size, C = c.contrastive_hidden_size;
  const nn::Linear::Options options{true, stddev_of(c)};
  range_ = blocks.add("itc_heads", reached_by, false, [&] {
    text_.emplace(store, "itc_text_head.fc", H, C, options);
    image_.emplace(store, "itc_image_head.fc", H, C, options);
    cross_.emplace(store, "itc_cross_modal_head.fc", 2 * H, C, options);
  });
  logit_scale_range_ = blocks.add("logit_scale", reached_by, false, [&] {
    logit_scale_ = &store.add("logit_scale", {1}, {.init = Init::constant(float(c.logit_scale_init_value))});
  });
}

void ItcHeads::forward(Ctx& ctx, BlockReports& reports, const Embeddings& out, const Embeddings& raw,
                       const Embeddings& in) const {
  reports.need(range_), reports.need(logit_scale_range_);
  auto one = [&](const nn::Linear& fc, Tensor y, Tensor before, Tensor x) {
    fc.forward(ctx, before, x);
    ops::l2_normalize(ctx, y, before);
  };
  one(*text_, out.text, raw.text, in.text);
  one(*image_, out.image, raw.image, in.image);
  if (out.cross) one(*cross_, out.cross, raw.cross, in.cross);
}

void ItcHeads::backward(Ctx& ctx, BlockReports& reports, const Embeddings& d_in, const Embeddings& d_out,
                        const Embeddings& raw, const Embeddings& in) const {
  auto scope = ctx.arena.scope("contrastive heads");
  reports.ready(logit_scale_range_);  // its gradient came with those of the embeddings
  reports.open(range_);
  Tensor d_raw = temp_like(ctx, raw.text);
  auto one = [&](const nn::Linear& fc, Tensor dx, Tensor dy, Tensor before, Tensor x) {
    ops::l2_normalize_backward(ctx, d_raw, dy, before);
    fc.backward(ctx, dx, d_raw, x);
  };
  one(*cross_, d_in.cross, d_out.cross, raw.cross, in.cross);
  one(*image_, d_in.image, d_out.image, raw.image, in.image);
  one(*text_, d_in.text, d_out.text, raw.text, in.text);
  reports.ready(range_);
}

MlmHead::MlmHead(PassBlocks& blocks, const BridgeTowerConfig& c, Passes reached_by, const Parameter* tied,
                 Range tied_range)
    : activation_(activation_named("hidden_act", c.hidden_act)), tied_range_(tied_range), decoder_(tied) {
  ParameterStore& store = blocks.store();
  const int64_t H = c.hidden_size, V = c.text.vocab_size;
  range_ = blocks.add("mlm_score", reached_by, false, [&] {
    dense_.emplace(store, "mlm_score.transform.dense", H, H, nn::Linear::Options{true, stddev_of(c)});
    norm_.emplace(store, "mlm_score.transform.LayerNorm", H, c.layer_norm_eps);
    if (!tied) decoder_ = &store.add("mlm_score.decoder.weight", {V, H}, {.init = Init::normal(stddev_of(c))});
    bias_ = &store.add("mlm_score.bias", {V}, {.decay = false});
  });
}

void MlmHead::forward(Ctx& ctx, BlockReports& reports, Tensor logits, Tensor x, Saved* saved) const {
  auto scope = ctx.arena.scope("language head");
  reports.need(range_), reports.need(tied_range_);
  Tensor act = saved ? ctx.arena.keep(x.shape, x.dtype) : temp_like(ctx, x);
  Tensor pre = saved ? ctx.arena.keep(x.shape, x.dtype) : Tensor{};
  ops::NormStats stats = saved ? nn::keep_stats(ctx, x) : ops::NormStats{};
  Tensor normed = temp_like(ctx, x);
  dense_->forward(ctx, act, x, {.activation = activation_, .pre = pre});
  norm_->forward(ctx, normed, stats, act);
  nn::LinearRows{decoder_->value, bias_->value, {}, {}}.forward(ctx, logits, normed);
  if (saved) *saved = {x, pre, act, stats};
}

void MlmHead::backward(Ctx& ctx, BlockReports& reports, Tensor dx, Tensor d_logits, const Saved& s) const {
  auto scope = ctx.arena.scope("language head");
  reports.open(range_), reports.open(tied_range_);
  Tensor normed = temp_like(ctx, s.x), d = temp_like(ctx, s.x);
  norm_->forward(ctx, normed, {}, s.act);
  if (!decoder_->grad) {  // tied to frozen embeddings: the bias alone, as the weight of an input of ones
    Tensor ones = ctx.arena.temp({s.x.shape[0], 1}, s.x.dtype);
    ops::fill(ctx, ones, 1);
    ops::linear_weight_grad(ctx, bias_->grad.reshape({bias_->shape[0], 1}), {}, d_logits, ones);
  }
  nn::LinearRows{decoder_->value, bias_->value, decoder_->grad, bias_->grad}.backward(ctx, d, d_logits, normed);
  norm_->backward(ctx, d, d, s.act, s.stats, false);
  ops::activation_backward(ctx, d, d, s.pre, activation_);
  dense_->backward(ctx, dx, d, s.x);
  reports.ready(range_);
}

}  // namespace viaduct

#include "models/vit.hpp"

namespace viaduct {
namespace {

nn::EncoderBlockNames block_names(int64_t i) {
  std::string p = fmt::format("vit.encoder.layer.{}.", i);
  return {.norm1 = p + "layernorm_before",
          .qkv = p + "attention.attention.qkv",
          .out = p + "attention.output.dense",
          .norm2 = p + "layernorm_after",
          .up = p + "intermediate.dense",
          .down = p + "output.dense"};
}

constexpr uint32_t kEmbeddingDropout = 0, kFirstBlockDropout = 1, kDropoutsPerBlock = 3;

}  // namespace

Vit::Vit(ParameterStore& store, const VitConfig& config, bool recompute)
    : config_(config), recompute_(recompute), store_(store) {
  config.validate();
  int64_t W = config.hidden_size, P = config.patch_size;
  float stddev = float(config.initializer_range);
  embed_range_ = store.block("vit.embeddings", [&] {
    cls_ = &store.add("vit.embeddings.cls_token", {W}, {.init = Init::normal(stddev)});
    positions_ = &store.add("vit.embeddings.position_embeddings", {config.tokens(), W}, {.init = Init::normal(stddev)});
    patch_.emplace(store, "vit.embeddings.patch_embeddings.projection", 3 * P * P, W,
                   nn::Linear::Options{true, stddev});
  });
  for (int64_t i = 0; i < config.num_hidden_layers; ++i)
    block_ranges_.push_back(store.block(fmt::format("vit.encoder.layer.{}", i), [&] {
      blocks_.emplace_back(store, block_names(i),
                           nn::EncoderBlockOptions{.width = W,
                                                   .heads = config.num_attention_heads,
                                                   .mlp_width = config.intermediate_size,
                                                   .activation = config.activation(),
                                                   .eps = config.layer_norm_eps,
                                                   .qkv_bias = config.qkv_bias,
                                                   .init = {stddev, stddev, stddev, stddev},
                                                   .hidden_dropout = float(config.hidden_dropout_prob),
                                                   .attention_dropout = float(config.attention_probs_dropout_prob),
                                                   .first_op = kFirstBlockDropout + kDropoutsPerBlock * uint32_t(i)});
    }));
  norm_range_ = store.block("vit.layernorm", [&] { norm_.emplace(store, "vit.layernorm", W, config.layer_norm_eps); });
}

Tensor Vit::embed(Ctx& ctx, Tensor pixels, const ops::Normalization& normalization, bool keep) const {
  int64_t B = pixels.shape[0], W = config_.hidden_size, P = config_.patch_size, G = config_.tokens() - 1;
  expect(pixels.shape == Shape({B, config_.image_size, config_.image_size, 3}),
         "images have the size that the model was made for");
  Shape shape{B, G + 1, W};
  Tensor tokens = keep ? ctx.arena.keep(shape, ctx.dtype) : ctx.arena.temp(shape, ctx.dtype);
  auto scope = ctx.arena.scope("embed");
  Tensor patches = ctx.arena.temp({B, G, 3 * P * P}, ctx.dtype), embedded = ctx.arena.temp({B, G, W}, ctx.dtype);
  ops::patchify(ctx, patches, pixels, P, normalization);
  patch_->forward(ctx, embedded, patches);
  ops::assemble_tokens(ctx, tokens, embedded, cls_->value, positions_->value);
  ops::dropout(ctx, tokens, tokens, {float(config_.hidden_dropout_prob), kEmbeddingDropout});
  return tokens;
}

void Vit::embed_backward(Ctx& ctx, Tensor d, const Saved& saved, const ops::Normalization& normalization) const {
  auto scope = ctx.arena.scope("embed backward");
  int64_t B = d.shape[0], W = config_.hidden_size, P = config_.patch_size, G = config_.tokens() - 1;
  ops::dropout(ctx, d, d, {float(config_.hidden_dropout_prob), kEmbeddingDropout});
  Tensor patches = ctx.arena.temp({B, G, 3 * P * P}, ctx.dtype), d_embedded = ctx.arena.temp({B, G, W}, ctx.dtype);
  ops::assemble_tokens_backward(ctx, d_embedded, cls_->grad, positions_->grad, d);
  ops::patchify(ctx, patches, saved.pixels, P, normalization);
  patch_->backward(ctx, {}, d_embedded, patches);
}

Tensor Vit::forward(Ctx& ctx, GradSink* sink, Tensor pixels, const ops::Normalization& normalization,
                    Saved* saved) const {
  auto need = [&](Range r) {
    if (sink) sink->need(r);
  };
  int64_t B = pixels.shape[0], W = config_.hidden_size;
  Tensor features = saved ? ctx.arena.keep({B, W}, ctx.dtype) : ctx.arena.temp({B, W}, ctx.dtype);
  auto scope = ctx.arena.scope("forward");
  need(embed_range_);
  Tensor x = embed(ctx, pixels, normalization, saved != nullptr);
  if (saved) saved->pixels = pixels, saved->blocks.resize(blocks_.size()), saved->recomputed.resize(blocks_.size());
  for (size_t i = 0; i < blocks_.size(); ++i) {
    need(block_ranges_[i]);
    if (saved) saved->marks.push_back(ctx.arena.mark());
    Tensor in = x;
    if (is_last(i))
      x = saved ? ctx.arena.keep({B, W}, ctx.dtype) : ctx.arena.temp({B, W}, ctx.dtype);
    else if (saved)
      x = ctx.arena.keep(in.shape, ctx.dtype);
    if (is_last(i))
      blocks_[i].forward_first_token(ctx, x, in, saved ? &saved->blocks[i] : nullptr);
    else if (saved && recompute_)
      nn::Recomputed{blocks_[i]}.forward(ctx, x, in, saved->recomputed[i]);
    else
      blocks_[i].forward(ctx, x, in, saved ? &saved->blocks[i] : nullptr);
  }
  need(norm_range_);
  ops::NormStats stats;
  if (saved) saved->last = x, stats = saved->stats = nn::keep_stats(ctx, x);
  norm_->forward(ctx, features, stats, x);
  return features;
}

void Vit::backward(Ctx& ctx, GradSink& sink, Tensor d_features, const ops::Normalization& normalization,
                   const Saved& saved) {
  auto scope = ctx.arena.scope("backward");
  int64_t B = saved.pixels.shape[0], W = config_.hidden_size;
  Tensor d_first = ctx.arena.temp({B, W}, ctx.dtype), d = ctx.arena.temp({B, config_.tokens(), W}, ctx.dtype);
  store_.open(norm_range_, sink);
  norm_->backward(ctx, d_first, d_features, saved.last, saved.stats, false);
  sink.ready(norm_range_);
  for (size_t i = blocks_.size(); i-- > 0;) {
    store_.open(block_ranges_[i], sink);
    if (is_last(i))
      blocks_[i].backward_first_token(ctx, d, d_first, saved.blocks[i]);
    else if (recompute_)
      nn::Recomputed{blocks_[i]}.backward(ctx, saved.recomputed[i], d);
    else
      blocks_[i].backward(ctx, d, saved.blocks[i]);
    ctx.arena.release(saved.marks[i]);
    sink.ready(block_ranges_[i]);
  }
  store_.open(embed_range_, sink);
  embed_backward(ctx, d, saved, normalization);
  sink.ready(embed_range_);
}

}  // namespace viaduct

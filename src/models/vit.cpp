#include "models/vit.hpp"

namespace viaduct {
namespace {

nn::EncoderBlockNames block_names(const std::string& body, int64_t i) {
  std::string p = fmt::format("{}.encoder.layer.{}.", body, i);
  return {.norm1 = p + "layernorm_before",
          .qkv = p + "attention.attention.qkv",
          .out = p + "attention.output.dense",
          .norm2 = p + "layernorm_after",
          .up = p + "intermediate.dense",
          .down = p + "output.dense"};
}

constexpr uint32_t kEmbeddingDropout = 0, kFirstBlockDropout = 1, kDropoutsPerBlock = 3;

}  // namespace

Vit::Vit(ParameterStore& store, const VitConfig& config, VitOptions options)
    : config_(config), options_(options), store_(store) {
  config.validate();
  options_.whole_last |= config.distillation_token;
  const std::string body = config.distillation_token ? "deit" : "vit";
  int64_t W = config.hidden_size, P = config.patch_size;
  float stddev = float(config.initializer_range);
  embed_range_ = store.block(body + ".embeddings", [&] {
    const std::string e = body + ".embeddings.";
    const ParameterOptions drawn{.init = Init::normal(stddev)};
    special_ = config.distillation_token ? &store.add(e + "special_tokens", {2, W}, drawn)
                                         : &store.add(e + "cls_token", {W}, drawn);
    positions_ = &store.add(e + "position_embeddings", {config.tokens(), W}, drawn);
    patch_.emplace(store, e + "patch_embeddings.projection", 3 * P * P, W, nn::Linear::Options{true, stddev});
  });
  for (int64_t i = 0; i < config.num_hidden_layers; ++i)
    block_ranges_.push_back(store.block(fmt::format("{}.encoder.layer.{}", body, i), [&] {
      blocks_.emplace_back(store, block_names(body, i),
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
  norm_range_ =
      store.block(body + ".layernorm", [&] { norm_.emplace(store, body + ".layernorm", W, config.layer_norm_eps); });
}

Tensor Vit::embed(Ctx& ctx, Tensor pixels, const ops::Normalization& normalization, bool keep) const {
  int64_t B = pixels.shape[0], W = config_.hidden_size, P = config_.patch_size, G = config_.grid() * config_.grid();
  expect(pixels.shape == Shape({B, config_.image_size, config_.image_size, 3}),
         "images have the size that the model was made for");
  Shape shape{B, config_.tokens(), W};
  Tensor tokens = keep ? ctx.arena.keep(shape, ctx.dtype) : ctx.arena.temp(shape, ctx.dtype);
  auto scope = ctx.arena.scope("embed");
  Tensor patches = ctx.arena.temp({B, G, 3 * P * P}, ctx.dtype), embedded = ctx.arena.temp({B, G, W}, ctx.dtype);
  ops::patchify(ctx, patches, pixels, P, normalization);
  patch_->forward(ctx, embedded, patches);
  ops::assemble_tokens(ctx, tokens, embedded, special_->value, positions_->value);
  ops::dropout(ctx, tokens, tokens, {float(config_.hidden_dropout_prob), kEmbeddingDropout});
  return tokens;
}

void Vit::embed_backward(Ctx& ctx, Tensor d, const Saved& saved, const ops::Normalization& normalization) const {
  auto scope = ctx.arena.scope("embed backward");
  int64_t B = d.shape[0], W = config_.hidden_size, P = config_.patch_size, G = config_.grid() * config_.grid();
  ops::dropout(ctx, d, d, {float(config_.hidden_dropout_prob), kEmbeddingDropout});
  Tensor patches = ctx.arena.temp({B, G, 3 * P * P}, ctx.dtype), d_embedded = ctx.arena.temp({B, G, W}, ctx.dtype);
  ops::assemble_tokens_backward(ctx, d_embedded, special_->grad, positions_->grad, d);
  ops::patchify(ctx, patches, saved.pixels, P, normalization);
  patch_->backward(ctx, {}, d_embedded, patches);
}

Tensor Vit::special_rows(Ctx& ctx, Tensor x, bool keep) const {
  const int64_t B = x.shape[0], W = x.shape[2], K = config_.special_tokens();
  Tensor rows = keep ? ctx.arena.keep({K * B, W}, x.dtype) : ctx.arena.temp({K * B, W}, x.dtype);
  for (int64_t k = 0; k < K; ++k) ops::select_token(ctx, rows.slice(k * B, (k + 1) * B), x, k);
  return rows;
}

Tensor Vit::forward(Ctx& ctx, GradSink* sink, Tensor pixels, const ops::Normalization& normalization, Saved* saved,
                    const Look& look) const {
  auto need = [&](Range r) {
    if (sink) sink->need(r);
  };
  auto make = [&](Shape shape) { return saved ? ctx.arena.keep(shape, ctx.dtype) : ctx.arena.temp(shape, ctx.dtype); };
  int64_t B = pixels.shape[0], W = config_.hidden_size;
  Tensor features = make({config_.special_tokens() * B, W});
  auto scope = ctx.arena.scope("forward");
  need(embed_range_);
  Tensor x = embed(ctx, pixels, normalization, saved != nullptr);
  if (saved) saved->pixels = pixels, saved->blocks.resize(blocks_.size()), saved->recomputed.resize(blocks_.size());
  for (size_t i = 0; i < blocks_.size(); ++i) {
    need(block_ranges_[i]);
    if (saved) saved->marks.push_back(ctx.arena.mark());
    Tensor in = x;
    if (cuts(i))
      x = make({B, W});
    else if (saved)
      x = ctx.arena.keep(in.shape, ctx.dtype);
    if (cuts(i))
      blocks_[i].forward_first_token(ctx, x, in, saved ? &saved->blocks[i] : nullptr);
    else if (saved && options_.recompute)
      nn::Recomputed{blocks_[i]}.forward(ctx, x, in, saved->recomputed[i]);
    else
      blocks_[i].forward(ctx, x, in, saved ? &saved->blocks[i] : nullptr);
    if (saved) saved->outputs.push_back(x);
    if (look && !cuts(i)) look(int64_t(i) + 1, x);
  }
  need(norm_range_);
  if (options_.whole_last) x = special_rows(ctx, x, saved != nullptr);
  ops::NormStats stats;
  if (saved) saved->last = x, stats = saved->stats = nn::keep_stats(ctx, x);
  norm_->forward(ctx, features, stats, x);
  return features;
}

void Vit::backward(Ctx& ctx, GradSink& sink, Tensor d_features, const ops::Normalization& normalization,
                   const Saved& saved, const AddGradient& add) {
  auto scope = ctx.arena.scope("backward");
  int64_t B = saved.pixels.shape[0], W = config_.hidden_size;
  Tensor d_last = ctx.arena.temp(saved.last.shape, ctx.dtype), d = ctx.arena.temp({B, config_.tokens(), W}, ctx.dtype);
  store_.open(norm_range_, sink);
  norm_->backward(ctx, d_last, d_features, saved.last, saved.stats, false);
  sink.ready(norm_range_);
  if (options_.whole_last) {
    ops::fill(ctx, d, 0);
    for (int64_t k = 0; k < config_.special_tokens(); ++k)
      ops::select_token_backward(ctx, d, d_last.slice(k * B, (k + 1) * B), k);
  }
  for (size_t i = blocks_.size(); i-- > 0;) {
    if (add && !cuts(i)) add(int64_t(i) + 1, d);
    store_.open(block_ranges_[i], sink);
    if (cuts(i))
      blocks_[i].backward_first_token(ctx, d, d_last, saved.blocks[i]);
    else if (options_.recompute)
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

#include "models/clip_vision.hpp"

#include <cmath>

namespace viaduct {
namespace {

constexpr const char* kPrefix = "bridgetower.vision_model.visual.";

nn::EncoderBlockNames block_names(const std::string& p) {
  return {.norm1 = p + ".ln_1",
          .qkv = p + ".attn.qkv",
          .out = p + ".attn.out_proj",
          .norm2 = p + ".ln_2",
          .up = p + ".mlp.c_fc",
          .down = p + ".mlp.c_proj"};
}

// No dropout anywhere.
nn::EncoderBlockOptions block_options(const BridgeTowerConfig& c) {
  const auto& v = c.vision;
  double f = v.initializer_factor, W = double(v.hidden_size);
  float attention = float(f / std::sqrt(W)), up = float(f / std::sqrt(2 * W));
  float projection = float(f / std::sqrt(W) / std::sqrt(2 * double(v.num_hidden_layers)));
  return {.width = v.hidden_size,
          .heads = c.vision_heads(),
          .mlp_width = 4 * v.hidden_size,
          .activation = ops::Activation::quick_gelu,
          .eps = v.layer_norm_eps,
          .qkv_bias = true,
          .init = {.qkv = attention, .out = projection, .up = up, .down = projection},
          .hidden_dropout = 0,
          .attention_dropout = 0,
          .first_op = 0};
}

}  // namespace

ClipVision::ClipVision(PassBlocks& blocks, const BridgeTowerConfig& c, const ops::Normalization& normalization,
                       const TowerOptions& o)
    : config_(c),
      options_(o),
      width_(c.vision.hidden_size),
      patch_(c.vision.patch_size),
      tokens_(c.image_tokens()),
      normalization_(normalization),
      blocks_(o.recompute) {
  const std::string prefix = kPrefix, embeddings = prefix + "embeddings.";
  ParameterStore& store = blocks.store();
  double f = c.vision.initializer_factor;
  const ParameterOptions normal{.init = Init::normal(float(f / std::sqrt(double(width_))))};
  embed_range_ = blocks.add(prefix + "embeddings", o.reached_by, o.frozen, [&] {
    class_ = &store.add(embeddings + "class_embedding", {width_}, normal);
    projection_.emplace(store, embeddings + "patch_embedding", 3 * patch_ * patch_, width_,
                        nn::Linear::Options{false, float(BridgeTowerConfig::kStddev * f)});
    positions_ = &store.add(embeddings + "position_embedding.weight", {tokens_, width_}, normal);
    pre_.emplace(store, prefix + "ln_pre", width_, c.vision.layer_norm_eps);
  });
}

void ClipVision::add_block(PassBlocks& blocks) {
  std::string name = fmt::format("{}transformer.resblocks.{}", kPrefix, blocks_.size());
  Passes reached_by = int64_t(blocks_.size()) < config_.text.num_hidden_layers ? options_.reached_by : 0;
  blocks_.add(blocks, name, reached_by, options_.frozen, block_names(name), block_options(config_));
}

void ClipVision::add_post(PassBlocks& blocks) {
  std::string name = std::string(kPrefix) + "ln_post";
  post_range_ = blocks.add(name, options_.reached_by, options_.frozen,
                           [&] { post_.emplace(blocks.store(), name, width_, config_.vision.layer_norm_eps); });
}

void ClipVision::embed(Ctx& ctx, BlockReports& reports, Tensor out, Tensor pixels, Saved* saved) const {
  reports.need(embed_range_);
  Tensor tokens = saved ? ctx.arena.keep(out.shape, out.dtype) : out;
  ops::NormStats stats = saved ? nn::keep_stats(ctx, tokens) : ops::NormStats{};
  auto scope = ctx.arena.scope("embed");
  int64_t B = out.shape[0], G = tokens_ - 1;
  Tensor patches = ctx.arena.temp({B, G, 3 * patch_ * patch_}, out.dtype);
  Tensor embedded = ctx.arena.temp({B, G, width_}, out.dtype);
  ops::patchify(ctx, patches, pixels, patch_, normalization_);
  projection_->forward(ctx, embedded, patches);
  ops::assemble_tokens(ctx, tokens, embedded, class_->value, positions_->value);
  pre_->forward(ctx, out, stats, tokens);
  if (saved) saved->pixels = pixels, saved->tokens = tokens, saved->stats = stats;
}

void ClipVision::embed_backward(Ctx& ctx, BlockReports& reports, Tensor d, const Saved& s) const {
  auto scope = ctx.arena.scope("embed backward");
  reports.open(embed_range_);
  int64_t B = d.shape[0], G = tokens_ - 1;
  Tensor patches = ctx.arena.temp({B, G, 3 * patch_ * patch_}, d.dtype);
  Tensor d_embedded = ctx.arena.temp({B, G, width_}, d.dtype);
  pre_->backward(ctx, d, d, s.tokens, s.stats, false);
  ops::assemble_tokens_backward(ctx, d_embedded, class_->grad, positions_->grad, d);
  ops::patchify(ctx, patches, s.pixels, patch_, normalization_);
  projection_->backward(ctx, {}, d_embedded, patches);
  reports.ready(embed_range_);
}

}  // namespace viaduct

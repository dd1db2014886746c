#include "models/roberta.hpp"

#include "core/ops/text.hpp"
#include "models/activation_name.hpp"

namespace viaduct {

nn::PostNormOptions post_norm_options(const BridgeTowerConfig::Text& c, double initializer_factor, uint32_t first_op) {
  return {.width = c.hidden_size,
          .heads = c.num_attention_heads,
          .mlp_width = c.intermediate_size,
          .activation = activation_named("text_config.hidden_act", c.hidden_act),
          .eps = c.layer_norm_eps,
          .stddev = float(BridgeTowerConfig::kStddev * initializer_factor),
          .hidden_dropout = float(c.hidden_dropout_prob),
          .attention_dropout = float(c.attention_probs_dropout_prob),
          .first_op = first_op};
}

Roberta::Roberta(PassBlocks& blocks, const BridgeTowerConfig::Text& c, const TowerOptions& o)
    : config_(c), options_(o), layers_(o.recompute) {
  const std::string prefix = "bridgetower.text_model.", embeddings = prefix + "embeddings.";
  ParameterStore& store = blocks.store();
  const ParameterOptions normal{.init = Init::normal(float(BridgeTowerConfig::kStddev * c.initializer_factor))};
  words_range_ = blocks.add(embeddings + "word_embeddings", o.reached_by, o.frozen, [&] {
    words_ = &store.add(embeddings + "word_embeddings.weight", {c.vocab_size, c.hidden_size}, normal);
  });
  embed_range_ = blocks.add(prefix + "embeddings", o.reached_by, o.frozen, [&] {
    positions_ =
        &store.add(embeddings + "position_embeddings.weight", {c.max_position_embeddings, c.hidden_size}, normal);
    types_ = &store.add(embeddings + "token_type_embeddings.weight", {c.type_vocab_size, c.hidden_size}, normal);
    norm_.emplace(store, embeddings + "LayerNorm", c.hidden_size, c.layer_norm_eps);
  });
}

void Roberta::add_layer(PassBlocks& blocks) {
  uint32_t first_op = options_.first_op + 1 + nn::TextLayer::kDropouts * uint32_t(layers_.size());
  std::string name = fmt::format("bridgetower.text_model.encoder.layer.{}", layers_.size());
  layers_.add(blocks, name, options_.reached_by, options_.frozen, name + ".",
              post_norm_options(config_, config_.initializer_factor, first_op));
}

void Roberta::embed(Ctx& ctx, BlockReports& reports, Tensor out, Tensor ids, Saved* saved) const {
  reports.need(words_range_), reports.need(embed_range_);
  Tensor sum = saved ? ctx.arena.keep(out.shape, out.dtype) : out;
  ops::NormStats stats = saved ? nn::keep_stats(ctx, sum) : ops::NormStats{};
  ops::embed_text(ctx, sum, ids, {words_->value, positions_->value, types_->value}, int32_t(config_.pad_token_id));
  norm_->forward(ctx, out, stats, sum);
  ops::dropout(ctx, out, out, {float(config_.hidden_dropout_prob), options_.first_op});
  if (saved) saved->ids = ids, saved->sum = sum, saved->stats = stats;
}

void Roberta::embed_backward(Ctx& ctx, BlockReports& reports, Tensor d, const Saved& s) const {
  reports.open(words_range_), reports.open(embed_range_);
  ops::dropout(ctx, d, d, {float(config_.hidden_dropout_prob), options_.first_op});
  norm_->backward(ctx, d, d, s.sum, s.stats, false);
  ops::embed_text_backward(ctx, {words_->grad, positions_->grad, types_->grad}, d, s.ids,
                           int32_t(config_.pad_token_id));
  reports.ready(embed_range_), reports.ready(words_range_);
}

void Roberta::last_first_token(Ctx& ctx, Tensor out, const nn::TextLayer::Inputs& in) const {
  const nn::TextLayer& last = layers_[layers_.size() - 1];
  last.self.forward_first_token(ctx, out, in.x, in.mask, nullptr);
  last.mlp.forward(ctx, out, out, nullptr);
}

}  // namespace viaduct

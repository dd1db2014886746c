// The text tower of BridgeTower: RoBERTa (Liu et al. 2019) without its pooler, layer by layer, because every one of the
// last layers is bridged. Names below `bridgetower.text_model.`.
#pragma once
#include <optional>

#include "core/nn/post_norm_layers.hpp"
#include "models/bridgetower_config.hpp"
#include "models/layer_stack.hpp"

namespace viaduct {

struct TowerOptions {
  Passes reached_by;
  bool frozen, recompute;
  uint32_t first_op;  // of the tower's dropouts
};

class Roberta {
 public:
  Roberta(PassBlocks&, const BridgeTowerConfig::Text&, const TowerOptions&);  // the embeddings
  void add_layer(PassBlocks&);  // the next of num_hidden_layers, registered where the forward pass runs it

  struct Saved {
    Tensor ids, sum;  // sum: what the norm of the embeddings reads
    ops::NormStats stats;
    LayerStack<nn::TextLayer>::Saved layers;
  };
  // Every output [B, T, W] is the caller's. In a backward d is the gradient of the output and becomes that of the input.
  void embed(Ctx&, BlockReports&, Tensor out, Tensor ids, Saved*) const;
  void embed_backward(Ctx&, BlockReports&, Tensor d, const Saved&) const;
  void layer(Ctx& ctx, BlockReports& reports, size_t i, Tensor out, const nn::TextLayer::Inputs& in,
             Saved* saved) const {
    layers_.forward(ctx, reports, i, out, in, saved ? &saved->layers : nullptr);
  }
  void layer_backward(Ctx& ctx, BlockReports& reports, size_t i, Tensor d, const Saved& saved) const {
    layers_.backward(ctx, reports, i, saved.layers, d);
  }
  // Token 0 of the last layer's output, [B, W]; inference only.
  void last_first_token(Ctx&, Tensor out, const nn::TextLayer::Inputs&) const;

  // The word embeddings are a block of their own: a decoder may be tied to them. It is the first that is needed and the
  // last that is ready.
  const Parameter& words() const { return *words_; }
  Range words_range() const { return words_range_; }
  size_t layers() const { return layers_.size(); }
  uint32_t dropouts() const { return 1 + nn::TextLayer::kDropouts * uint32_t(config_.num_hidden_layers); }

 private:
  BridgeTowerConfig::Text config_;
  TowerOptions options_;
  Range words_range_, embed_range_;
  Parameter *words_ = nullptr, *positions_ = nullptr, *types_ = nullptr;
  std::optional<nn::LayerNorm> norm_;  // made inside its block of the store
  LayerStack<nn::TextLayer> layers_;
};

// What post-norm layers of this configuration have in common; of the cross-modal layers too.
nn::PostNormOptions post_norm_options(const BridgeTowerConfig::Text&, double initializer_factor, uint32_t first_op);

}  // namespace viaduct

// The vision tower of BridgeTower: CLIP's ViT (Radford et al. 2021), block by block, because every one of the last
// blocks is bridged through one shared final norm. Names below `bridgetower.vision_model.visual.`.
#pragma once
#include <optional>

#include "core/nn/encoder_block.hpp"
#include "core/ops/patch.hpp"
#include "models/roberta.hpp"

namespace viaduct {

class ClipVision {
 public:
  ClipVision(PassBlocks&, const BridgeTowerConfig&, const ops::Normalization&, const TowerOptions&);  // the embeddings
  // The next of num_hidden_layers, and the final norm: registered where the forward pass runs them. Blocks above the
  // depth of the text tower are never run, so they are frozen.
  void add_block(PassBlocks&);
  void add_post(PassBlocks&);

  struct Saved {
    Tensor pixels, tokens;  // tokens: what the first norm reads
    ops::NormStats stats;
    LayerStack<nn::EncoderBlock>::Saved blocks;
  };
  // Every output [B, N, W] is the caller's. In a backward d is the gradient of the output and becomes that of the input.
  void embed(Ctx&, BlockReports&, Tensor out, Tensor pixels, Saved*) const;
  void embed_backward(Ctx&, BlockReports&, Tensor d, const Saved&) const;
  void block(Ctx& ctx, BlockReports& reports, size_t i, Tensor out, Tensor x, Saved* saved) const {
    blocks_.forward(ctx, reports, i, out, x, saved ? &saved->blocks : nullptr);
  }
  void block_backward(Ctx& ctx, BlockReports& reports, size_t i, Tensor d, const Saved& saved) const {
    blocks_.backward(ctx, reports, i, saved.blocks, d);
  }
  // Token 0 of the output of block i, [B, W]; inference only.
  void block_first_token(Ctx& ctx, size_t i, Tensor out, Tensor x) const {
    blocks_[i].forward_first_token(ctx, out, x, nullptr);
  }

  // The shared final norm, whose caller reports its block.
  const nn::LayerNorm& post() const { return *post_; }
  Range post_range() const { return post_range_; }

 private:
  BridgeTowerConfig config_;
  TowerOptions options_;
  int64_t width_, patch_, tokens_;
  ops::Normalization normalization_;
  Range embed_range_, post_range_;
  Parameter *class_ = nullptr, *positions_ = nullptr;
  std::optional<nn::Linear> projection_;  // as the norms, made inside its block of the store
  std::optional<nn::LayerNorm> pre_, post_;
  LayerStack<nn::EncoderBlock> blocks_;
};

}  // namespace viaduct

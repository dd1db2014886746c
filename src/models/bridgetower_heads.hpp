// The heads of BridgeTower, each a block. What enters a head is the caller's and lives until its backward; gradients of
// it that are absent are not wanted.
#pragma once
#include <optional>

#include "core/nn/layer_norm.hpp"
#include "core/nn/pooler.hpp"
#include "models/bridgetower_config.hpp"
#include "models/pair_tensors.hpp"
#include "models/pass_blocks.hpp"

namespace viaduct {

// Token 0 of both streams, pooled and side by side: [B, 2 H], the text's half first.
class Poolers {
 public:
  Poolers(PassBlocks&, const BridgeTowerConfig&, Passes reached_by, bool frozen);
  struct Saved {
    nn::Pooler::Saved text, image;
  };
  void forward(Ctx&, BlockReports&, Tensor pooled, Tensor text_first, Tensor image_first, Saved*) const;
  void backward(Ctx&, BlockReports&, Tensor d_text_first, Tensor d_image_first, Tensor d_pooled, const Saved&) const;

 private:
  Range range_;
  std::optional<nn::Pooler> text_, image_;  // made inside their block of the store, as all below
};

// Image-text matching: logits [B, 2].
class ItmHead {
 public:
  ItmHead(PassBlocks&, const BridgeTowerConfig&, Passes reached_by);
  void forward(Ctx&, BlockReports&, Tensor logits, Tensor pooled) const;
  void backward(Ctx&, BlockReports&, Tensor d_pooled, Tensor d_logits, Tensor pooled) const;

 private:
  Range range_;
  std::optional<nn::Linear> fc_;
};

// Unit vectors of the text tower, the vision tower and the pooled pair.
class ItcHeads {
 public:
  ItcHeads(PassBlocks&, const BridgeTowerConfig&, Passes reached_by);
  // in: [B, H], [B, H], [B, 2 H]; raw, out [B, C]: before and after the normalisation. Without a cross only the towers.
  void forward(Ctx&, BlockReports&, const Embeddings& out, const Embeddings& raw, const Embeddings& in) const;
  void backward(Ctx&, BlockReports&, const Embeddings& d_in, const Embeddings& d_out, const Embeddings& raw,
                const Embeddings& in) const;
  Parameter& logit_scale() const { return *logit_scale_; }
  Range logit_scale_range() const { return logit_scale_range_; }

 private:
  Range range_, logit_scale_range_;
  Parameter* logit_scale_ = nullptr;
  std::optional<nn::Linear> text_, image_, cross_;
};

// Masked language modelling: x [R, H] -> logits [R, V] = decoder LN(act(dense x)) + bias.
class MlmHead {
 public:
  // `tied`: the word embeddings and their block, when they are the decoder.
  MlmHead(PassBlocks&, const BridgeTowerConfig&, Passes reached_by, const Parameter* tied, Range tied_range);
  struct Saved {
    Tensor x, pre, act;
    ops::NormStats stats;
  };
  void forward(Ctx&, BlockReports&, Tensor logits, Tensor x, Saved*) const;
  void backward(Ctx&, BlockReports&, Tensor dx, Tensor d_logits, const Saved&) const;

 private:
  ops::Activation activation_;
  Range range_, tied_range_;  // tied: reported by whoever else uses it
  std::optional<nn::Linear> dense_;
  std::optional<nn::LayerNorm> norm_;
  const Parameter *decoder_ = nullptr, *bias_ = nullptr;
};

}  // namespace viaduct

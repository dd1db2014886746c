// Vision Transformer (Dosovitskiy et al. 2021) as HF's ViTModel without a pooler: images in, the final layer norm's
// output for the [CLS] token out. Parameters carry HF's names; query, key and value are one fused parameter
// `...attention.qkv`.
#pragma once
#include <deque>
#include <optional>
#include <vector>

#include "core/nn/encoder_block.hpp"
#include "core/nn/recomputed.hpp"
#include "core/ops/patch.hpp"
#include "models/vit_config.hpp"

namespace viaduct {

class Vit {
 public:
  Vit(ParameterStore&, const VitConfig&, bool recompute);

  struct Saved {
    Tensor pixels;
    std::vector<nn::EncoderBlock::Saved> blocks;                      // of the block that keeps everything
    std::vector<nn::Recomputed<nn::EncoderBlock>::Saved> recomputed;  // of the others
    std::vector<Arena::Mark> marks;                                   // before each block's forward
    Tensor last;                                                      // [B, W] what the final norm reads
    ops::NormStats stats;
  };

  // pixels [B, H, W, 3] uint8 -> features [B, W]; kept with `saved` and temporary without.
  Tensor forward(Ctx&, GradSink*, Tensor pixels, const ops::Normalization&, Saved*) const;
  // d_features [B, W]; reports every block of this model. Kept tensors are released as it goes.
  void backward(Ctx&, GradSink&, Tensor d_features, const ops::Normalization&, const Saved&);

 private:
  Tensor embed(Ctx&, Tensor pixels, const ops::Normalization&, bool keep) const;
  void embed_backward(Ctx&, Tensor d, const Saved&, const ops::Normalization&) const;
  bool is_last(size_t i) const { return i + 1 == blocks_.size(); }

  VitConfig config_;
  bool recompute_;
  ParameterStore& store_;
  Range embed_range_, norm_range_;
  std::vector<Range> block_ranges_;
  Parameter *cls_ = nullptr, *positions_ = nullptr;
  std::optional<nn::Linear> patch_;  // as the norm, made inside its block of the store
  std::deque<nn::EncoderBlock> blocks_;
  std::optional<nn::LayerNorm> norm_;
};

}  // namespace viaduct

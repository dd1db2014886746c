// Vision Transformer (Dosovitskiy et al. 2021) as HF's ViTModel without a pooler: images in, the final layer norm's
// output for the [CLS] token out, or for that and the distillation token (DeiT, Touvron et al. 2021; HF's DeiTModel).
// Parameters carry HF's names; query, key and value are one fused parameter `...attention.qkv`, DeiT's two tokens
// `...special_tokens`.
#pragma once
#include <deque>
#include <functional>
#include <optional>
#include <vector>

#include "core/nn/encoder_block.hpp"
#include "core/nn/recomputed.hpp"
#include "core/ops/patch.hpp"
#include "models/vit_config.hpp"

namespace viaduct {

struct VitOptions {
  bool recompute = false;
  // The last layer gives all tokens, for whoever looks at them; else only what is read goes on.
  bool whole_last = false;
};

class Vit {
 public:
  Vit(ParameterStore&, const VitConfig&, VitOptions);

  struct Saved {
    Tensor pixels;
    std::vector<nn::EncoderBlock::Saved> blocks;                      // of the block that keeps everything
    std::vector<nn::Recomputed<nn::EncoderBlock>::Saved> recomputed;  // of the others
    std::vector<Arena::Mark> marks;                                   // before each block's forward
    std::vector<Tensor> outputs;                                      // of each block; [B, W] of a last one that is cut
    Tensor last;                                                      // [K B, W] what the final norm reads
    ops::NormStats stats;
  };

  // Layers count from 1; x [B, T, W] is what one gives.
  using Look = std::function<void(int64_t layer, Tensor x)>;
  // Adds to d [B, T, W], the gradient of what the layer gives.
  using AddGradient = std::function<void(int64_t layer, Tensor d)>;

  // pixels [B, H, W, 3] uint8 -> features [K B, W], first the [CLS] tokens of all samples, then, of a DeiT, the
  // distillation tokens (K = special_tokens()); kept with `saved` and temporary without. `look` sees every layer that
  // gives all tokens.
  Tensor forward(Ctx&, GradSink*, Tensor pixels, const ops::Normalization&, Saved*, const Look& look = {}) const;
  // d_features [K B, W]; reports every block of this model. Kept tensors are released as it goes. `add` is asked before
  // every layer.
  void backward(Ctx&, GradSink&, Tensor d_features, const ops::Normalization&, const Saved&,
                const AddGradient& add = {});

 private:
  Tensor embed(Ctx&, Tensor pixels, const ops::Normalization&, bool keep) const;
  void embed_backward(Ctx&, Tensor d, const Saved&, const ops::Normalization&) const;
  // Of the last layer only token 0 is computed.
  bool cuts(size_t i) const { return i + 1 == blocks_.size() && !options_.whole_last; }
  Tensor special_rows(Ctx&, Tensor x, bool keep) const;  // [K B, W] of x [B, T, W]

  VitConfig config_;
  VitOptions options_;
  ParameterStore& store_;
  Range embed_range_, norm_range_;
  std::vector<Range> block_ranges_;
  Parameter *special_ = nullptr, *positions_ = nullptr;
  std::optional<nn::Linear> patch_;  // as the norm, made inside its block of the store
  std::deque<nn::EncoderBlock> blocks_;
  std::optional<nn::LayerNorm> norm_;
};

}  // namespace viaduct

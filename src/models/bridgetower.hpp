// BridgeTower (Xu et al. 2023): a RoBERTa text tower and a CLIP vision tower, every one of whose last layers is bridged
// to a layer of a cross-modal encoder, with the heads of Hugging Face's three classes. Parameters carry HF's names;
// projections of one input are fused (`...attention.self.qkv`, `...crossattention.self.kv`).
//
// Each head has a pass of its own: forward, the caller's loss, backward. Of several passes in a step every one
// accumulates and reports; the caller's sink decides which report counts.
#pragma once
#include <memory>

#include "core/nn/grad_sink.hpp"
#include "core/nn/parameter.hpp"
#include "core/ops/patch.hpp"
#include "models/bridgetower_config.hpp"
#include "models/pair_tensors.hpp"

namespace viaduct {

// Which heads a model has and what of it is trained. What none of its heads reaches (the text tower's pooler; without
// itm and itc the cross-modal poolers and the last cross-modal image layer) is frozen by itself.
struct BridgeTowerParts {
  bool itm = false, itc = false, mlm = false;
  bool freeze_text = false, freeze_vision = false, freeze_cross = false;
  bool recompute = false;
};

class BridgeTower {
 public:
  BridgeTower(const BridgeTowerConfig&, const ops::Normalization&, BridgeTowerParts);
  ~BridgeTower();
  ParameterStore& parameters();
  const BridgeTowerConfig& config() const;

  using Inputs = PairInputs;
  using Embeddings = viaduct::Embeddings;  // unit vectors [B, C] each
  struct Saved;                            // of a pass, from its forward to its backward
  struct SavedDeleter {
    void operator()(Saved*) const;
  };
  using SavedPtr = std::unique_ptr<Saved, SavedDeleter>;
  SavedPtr new_saved() const;

  // In every forward: with `saved` results are kept for the matching backward, without they are temporaries of the
  // enclosing scope; `sink` (absent in inference) hears `need`. A backward adds to the parameters' gradients, reports
  // every trained block to the sink once and releases what its forward kept.

  // Image-text matching: logits [B, 2], class 1 = match.
  Tensor itm(Ctx&, GradSink*, const Inputs&, Saved*) const;
  void itm_backward(Ctx&, GradSink&, Tensor d_logits, const Saved&);

  // Contrastive. The loss reads exp(logit_scale()).
  Embeddings itc(Ctx&, GradSink*, const Inputs&, Saved*) const;
  // The gradient of logit_scale is the caller's to add, before this call: it is opened by open_logit_scale().
  void itc_backward(Ctx&, GradSink&, const Embeddings& d, const Saved&);
  Parameter& logit_scale();  // [1]; a scalar in files
  void open_logit_scale(GradSink&);
  // The towers alone, without the cross-modal encoder: `cross` absent. Inference only.
  Embeddings towers(Ctx&, const Inputs&) const;

  // Masked language modelling: logits [R, V] for the R rows whose label is not ops::kIgnoredLabel (all B x T on
  // Device::meta), and their labels [R] int32. `labels` are in host memory: they say how much there is to compute.
  struct Masked {
    Tensor logits, labels;
  };
  Masked mlm(Ctx&, GradSink*, const Inputs&, Tensor labels, Saved*) const;
  void mlm_backward(Ctx&, GradSink&, Tensor d_logits, const Saved&);

  // Floating-point operations of products and attention for one sample of `tokens` text tokens: what HF's classes
  // compute (`executed` false), or what is done here, without dead rows and frozen gradients.
  enum class Pass { itm, itc, mlm };
  double flops(Pass, int64_t tokens, bool with_backward, bool executed) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace viaduct

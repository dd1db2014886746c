// HF's ViTForImageClassification: ViT, then a linear classifier on the [CLS] feature.
#pragma once
#include "data/batch.hpp"
#include "models/vit.hpp"

namespace viaduct {

class VitClassifier {
 public:
  VitClassifier(const VitConfig&, const ops::Normalization&, bool recompute);

  ParameterStore& parameters() { return store_; }
  const VitConfig& config() const { return config_; }

  struct Saved {
    Arena::Mark start;  // before what is kept
    Vit::Saved vit;
    Tensor features;
  };
  // logits [B, C]: a temporary of the enclosing scope. With `saved` the rest is kept for the matching backward; `sink`
  // (absent in inference) hears `need`.
  Tensor forward(Ctx&, GradSink*, Tensor pixels, Saved*) const;
  Tensor forward(Ctx& ctx, Tensor pixels) const { return forward(ctx, nullptr, pixels, nullptr); }
  // d_logits [B, C]. Adds to the gradients, reports every block and releases what was kept.
  void backward(Ctx&, GradSink&, Tensor d_logits, const Saved&);
  // Cross entropy summed over the batch, forward and backward, reported to the sink.
  void train(Ctx&, const Batch&, GradSink&);

  // Nominal floating-point operations of all products and attention for one image: what HF's model computes. The rows
  // that the last block leaves out are counted all the same, so that rates compare.
  double flops(bool with_backward) const;

 private:
  VitConfig config_;
  ops::Normalization normalization_;
  ParameterStore store_;
  Vit vit_;
  std::optional<nn::Linear> classifier_;  // made inside its block of the store
  Range classifier_range_;
};

}  // namespace viaduct

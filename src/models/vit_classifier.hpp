// HF's ViTForImageClassification: ViT, then a linear classifier on the [CLS] feature. Or its
// DeiTForImageClassificationWithTeacher: a second classifier on the distillation token's.
#pragma once
#include "data/batch.hpp"
#include "models/vit.hpp"

namespace viaduct {

class VitClassifier {
 public:
  // label_smoothing: of the labels that it is trained on.
  VitClassifier(const VitConfig&, const ops::Normalization&, VitOptions = {}, double label_smoothing = 0);

  ParameterStore& parameters() { return store_; }
  const VitConfig& config() const { return config_; }

  struct Saved {
    Arena::Mark start;  // before what is kept
    Vit::Saved vit;
    Tensor features;
  };
  // Temporaries of the enclosing scope, [B, C] each; `distilled` is that of the distillation token, absent without one.
  struct Logits {
    Tensor label, distilled;
  };
  // With `saved` the rest is kept for the matching backward; `sink` (absent in inference) hears `need`. `look` as of
  // Vit.
  Logits forward(Ctx&, GradSink*, Tensor pixels, Saved*, const Vit::Look& look = {}) const;
  // The answer, [B, C]: of both heads the mean.
  Tensor forward(Ctx&, Tensor pixels) const;
  // Adds to the gradients, reports every block and releases what was kept.
  void backward(Ctx&, GradSink&, const Logits& d, const Saved&, const Vit::AddGradient& add = {});
  // Cross entropy summed over the batch, with the labels of mixed images as they are mixed, forward and backward, reported
  // to the sink. Of a model without a distillation token.
  void train(Ctx&, const Batch&, GradSink&);

  // Nominal floating-point operations of all products and attention for one image: what HF's model computes. The rows
  // that the last block leaves out are counted all the same, so that rates compare.
  double flops(bool with_backward) const;

 private:
  VitConfig config_;
  ops::Normalization normalization_;
  ParameterStore store_;
  Vit vit_;
  std::optional<nn::Linear> classifier_, distilled_classifier_;  // made inside their block of the store
  Range classifier_range_;
  double label_smoothing_;
};

}  // namespace viaduct

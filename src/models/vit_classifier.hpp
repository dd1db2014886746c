// HF's ViTForImageClassification: ViT, then a linear classifier on the [CLS] feature.
#pragma once
#include "data/batch.hpp"
#include "models/vit.hpp"

namespace viaduct {

class VitClassifier {
 public:
  // label_smoothing: of the labels that it is trained on.
  VitClassifier(const VitConfig&, const ops::Normalization&, bool recompute, double label_smoothing = 0);

  ParameterStore& parameters() { return store_; }
  const VitConfig& config() const { return config_; }

  // logits [B, C]: a temporary of the enclosing scope.
  Tensor forward(Ctx&, Tensor pixels) const;
  // Cross entropy summed over the batch, with the labels of mixed images as they are mixed, forward and backward, reported to the sink.
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
  double label_smoothing_;
};

}  // namespace viaduct

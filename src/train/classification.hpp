// Image classification: cross entropy, accuracy.
#pragma once
#include "models/vit_classifier.hpp"
#include "train/blank_batch.hpp"
#include "train/task.hpp"

namespace viaduct {

class ClassificationTask final : public Task {
 public:
  // mixes: batches in training hold mixed images.
  ClassificationTask(const VitConfig& config, const ops::Normalization& normalization, VitOptions options,
                     double label_smoothing = 0, bool mixes = false)
      : model_(config, normalization, options, label_smoothing), mixes_(mixes) {}
  VitClassifier& model() { return model_; }

  ParameterStore& parameters() override { return model_.parameters(); }
  void train(Ctx& ctx, const Batch& batch, GradSink& sink) override { model_.train(ctx, batch, sink); }
  void evaluate(Ctx&, const Batch&, Metrics&) override;
  Tensor predict(Ctx& ctx, const Batch& batch) override { return model_.forward(ctx, batch.pixels); }
  Batch blank_batch(Device device, int64_t samples) const override {
    return viaduct::blank_batch(device, samples, model_.config().image_size, 0, mixes_);
  }
  double flops(bool with_backward, bool) const override { return model_.flops(with_backward); }

 private:
  VitClassifier model_;
  bool mixes_;
};

}  // namespace viaduct

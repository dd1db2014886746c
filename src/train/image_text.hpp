// Learning from images with texts, as BridgeTower was pre-trained: image-text matching (itm), contrastive (itc), masked
// language modelling (mlm), or a weighted sum of them. Each loss has a pass of its own; the last one reports.
#pragma once
#include "models/bridgetower.hpp"
#include "train/retrieval.hpp"
#include "train/task.hpp"
#include "train/task_choice.hpp"

namespace viaduct {

struct ImageTextOptions {
  TaskChoice choice;
  FrozenTowers frozen;
  bool recompute = false;
  bool global_negatives = false, hard_negatives = false;
  int64_t text_tokens = 0;  // of the longest batch, for planning
  int64_t batch_size = 0;   // of a rank's pass, at most
  ops::Normalization normalization;
};

class ImageTextTask final : public Task {
 public:
  // The communicator serves global negatives and retrieval; absent when only a plan is made for `ranks`.
  ImageTextTask(const BridgeTowerConfig&, const ImageTextOptions&, Communicator*, int64_t ranks);

  ParameterStore& parameters() override { return model_.parameters(); }
  void train(Ctx&, const Batch&, GradSink&) override;
  void train_nothing(Ctx&, GradSink&) override;
  // Masked tokens are as many as the batch has, hard negatives are chosen on the host, ranks ask how many rows there are.
  bool replayable() const override {
    return options_.choice.mlm == 0 && !options_.hard_negatives && !options_.global_negatives;
  }
  bool samples_stand_alone() const override { return options_.choice.itm > 0 && alone(); }
  void evaluate(Ctx&, const Batch&, Metrics&) override;
  void conclude(std::map<std::string, double>& means, Communicator&) override;
  // itm: logits [B, 2]; itc: the unit vectors of text and image, [B, 2 C].
  Tensor predict(Ctx&, const Batch&) override;
  void infer(Ctx&, const Batch&) override;
  Batch blank_batch(Device, int64_t samples) const override;
  double flops(bool with_backward, bool executed) const override;

 private:
  void train_itc(Ctx&, const Batch&, GradSink&, int64_t terms);
  void train_mlm(Ctx&, const Batch&, GradSink&, int64_t terms);
  void train_itm(Ctx&, const Batch&, GradSink&, int64_t terms);
  BridgeTower::Inputs matched(const Batch& batch) const { return {batch.pixels, batch.text.ids, batch.text.mask}; }
  BridgeTower::Inputs judged(Ctx&, const Batch&) const;  // with hard negatives, where wanted
  bool alone() const { return options_.choice.losses() == 1; }
  std::string metric(const char* loss, const char* what) const;

  ImageTextOptions options_;
  Communicator* comm_;
  int64_t ranks_;
  BridgeTower model_;
  std::vector<float> similar_texts_, similar_images_;  // of this pass, for hard negatives
  Retrieval retrieval_;
};

}  // namespace viaduct

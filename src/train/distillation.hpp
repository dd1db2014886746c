// A student that learns from a frozen teacher and from labels: a weighted sum of losses.
#pragma once
#include "models/feature_loss.hpp"
#include "train/classification.hpp"
#include "train/distillation_choice.hpp"
#include "train/plan.hpp"
#include "train/teacher.hpp"

namespace viaduct {

class DistillationTask final : public Task {
 public:
  // `student`: with its teacher. `cached`: Teacher::open_cache() will be called.
  DistillationTask(const ModelSource& student, const DistillationChoice&, bool recompute, bool cached);

  ParameterStore& parameters() override { return student_.parameters(); }
  Teacher* teacher() override { return &teacher_; }
  void train(Ctx&, const Batch&, GradSink&) override;
  bool replayable() const override { return !teacher_.cached(); }  // what is there is known to the host only
  // The student's, as of any classifier.
  void evaluate(Ctx& ctx, const Batch& batch, Metrics& metrics) override { student_.evaluate(ctx, batch, metrics); }
  Tensor predict(Ctx& ctx, const Batch& batch) override { return student_.predict(ctx, batch); }
  Batch blank_batch(Device device, int64_t samples) const override { return student_.blank_batch(device, samples); }
  double flops(bool with_backward, bool executed) const override;  // of a step the teacher's forward included

 private:
  DistillationChoice choice_;
  ClassificationTask student_;
  Teacher teacher_;
  double teacher_flops_;
  std::optional<FeatureLoss> features_;
};

MakeTask student_maker(const ModelSource& student, const Config&);
// What a checkpoint of a student keeps: its losses and who taught it.
std::string lessons(const Config&, const Teacher&);

}  // namespace viaduct

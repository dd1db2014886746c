// What is learnt: the only virtual boundary above the ops. A task owns its model; the trainer sees batches, flat
// buffers and sums.
#pragma once
#include <memory>

#include "comm/grad_sync.hpp"
#include "core/device/context.hpp"
#include "core/nn/parameter.hpp"
#include "data/batch.hpp"
#include "train/metrics.hpp"

namespace viaduct {

class Teacher;

class Task {
 public:
  virtual ~Task() = default;
  virtual ParameterStore& parameters() = 0;
  virtual Teacher* teacher() { return nullptr; }  // whom it learns from, if anyone
  // Forward, loss and backward of one pass. Gradients are those of the sum of the losses; see GradSink for the reports.
  virtual void train(Ctx&, const Batch&, GradSink&) = 0;
  // Whether a pass is the same work for any batch of the same shapes, so that it can be recorded and replayed.
  virtual bool replayable() const { return true; }
  // Whether a sample's loss is the same whatever the others of its batch are.
  virtual bool samples_stand_alone() const { return true; }
  // The same for a rank without samples in a pass in which others have some: every block is reported.
  virtual void train_nothing(Ctx&, GradSink& sink) { report_all(parameters(), sink); }
  // Adds the sums of every metric of the task; a batch without samples adds none but names them all.
  virtual void evaluate(Ctx&, const Batch&, Metrics&) = 0;
  // Once all ranks have evaluated all batches: what sums and counts alone do not give. Collective.
  virtual void conclude(std::map<std::string, double>&, Communicator&) {}
  // logits [B, classes]: a temporary of the enclosing scope.
  virtual Tensor predict(Ctx&, const Batch&) = 0;
  // All that the published model computes for a batch: what a benchmark of inference runs. Leaves the arena as it was,
  // but for a temporary of the enclosing scope.
  virtual void infer(Ctx& ctx, const Batch& batch) { predict(ctx, batch); }

  virtual Batch blank_batch(Device, int64_t samples) const = 0;  // the shapes that a batch has, for planning
  // Of one sample: nominal ones, which the published model needs, or those that are executed here.
  virtual double flops(bool with_backward, bool executed) const = 0;
};

}  // namespace viaduct

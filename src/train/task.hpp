// What is learnt: the only virtual boundary above the ops. A task owns its model; the trainer sees batches, flat
// buffers and sums.
#pragma once
#include <memory>

#include "core/device/context.hpp"
#include "core/nn/parameter.hpp"
#include "data/batch.hpp"
#include "train/metrics.hpp"

namespace viaduct {

class Task {
 public:
  virtual ~Task() = default;
  virtual ParameterStore& parameters() = 0;
  // Forward, loss and backward of one pass. Gradients are those of the sum of the losses; see GradSink for the reports.
  virtual void train(Ctx&, const Batch&, GradSink&) = 0;
  // Adds the sums of every metric of the task; a batch without samples adds none but names them all.
  virtual void evaluate(Ctx&, const Batch&, Metrics&) = 0;
  // logits [B, classes]: a temporary of the enclosing scope.
  virtual Tensor predict(Ctx&, const Batch&) = 0;

  virtual Batch blank_batch(Device, int64_t samples) const = 0;  // the shapes that a batch has, for planning
  virtual double flops(bool with_backward) const = 0;            // nominal, of one sample
};

}  // namespace viaduct

// What a model tells the gradient synchronisation (rule R5). Implemented in comm/, recorded in tests.
#pragma once
#include "core/base/range.hpp"
#include "core/tensor/tensor.hpp"

namespace viaduct {

class GradSink {
 public:
  virtual ~GradSink() = default;
  // Before backward: losses [n] fp32 or fp64, their sum is used.
  virtual void add_loss(Tensor losses, int64_t terms) = 0;
  // Before the block's forward: its values must have arrived.
  virtual void need(Range) {}
  // Before its backward: where its gradients accumulate, one element per parameter.
  virtual Tensor open(Range) = 0;
  // One loss of several in this pass has added to it all that it will; the next one opens it again. Of each but the last
  // loss, every block.
  virtual void part(Range) {}
  // Its gradients of this pass are final; exactly once per pass.
  virtual void ready(Range) = 0;
};

}  // namespace viaduct

// One step of a strategy on gradients that a function gives.
#pragma once
#include <functional>

#include "comm/grad_sync.hpp"

namespace viaduct::test {

struct SummedGradients {
  Range range;                // of this rank's optimizer
  std::vector<float> values;  // of it
  StepTail tail;
};
// Leaf l of the step is pass l % passes of rank l / passes; `gradient(leaf, element of the store)`.
SummedGradients gradients_of_step(Communicator&, const GradSyncOptions&,
                                  const std::function<float(int, int64_t)>& gradient, int passes = 1);

// A bf16 step against exact sums of the rounded addends; every rank has the same. Throws.
void check_bf16(Communicator&, const std::string& strategy);

}  // namespace viaduct::test

// How a rank's share of a step is cut into passes: train.accumulate of train.batch_size samples; where sums must not depend
// on the number of ranks, into leaves of parallel.micro_batch samples.
#pragma once
#include "comm/grad_sync.hpp"
#include "train/config.hpp"
#include "train/task_choice.hpp"

namespace viaduct {

struct StepCut {
  int64_t samples = 1, passes = 1;
};
// Of a config that validate() accepts.
StepCut step_cut(const Config&);

// What [parallel] says to the strategy.
GradSyncOptions grad_sync_options(const Config&, const TaskChoice&, int64_t ranks);

}  // namespace viaduct
